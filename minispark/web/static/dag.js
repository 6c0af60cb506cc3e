// A job's operators as drawn nodes, with the progress of their stages inside.
// Must not know how a job runs.

import { h, own, s } from "./dom.js";
import { count } from "./format.js";
import { progress } from "./parts.js";
import { stageState } from "./stages.js";
import { stateWord, t } from "./words.js";

const WIDTH = 158, HEIGHT = 76, GAP_ALONG = 42, GAP_ACROSS = 16, EDGE = 8;
const SWEEPS = 4;
const DRAWN_MAX = 256;

/** `stages`: StageStats in plan order; `plan`: the physical plan, or null while there is none. */
export function dagView({ request, state }, plan, stages, isNarrow) {
  const nodes = request.dag.nodes.slice(0, DRAWN_MAX);
  const known = new Set(nodes.map((node) => node.id));
  const edges = request.dag.edges.filter(([from, to]) => known.has(from) && known.has(to));
  const stagesOf = stagesByNode(plan, stages);
  const places = layout(nodes, edges, isNarrow);
  const width = Math.max(...places.map(({ x }) => x)) + WIDTH + EDGE;
  const height = Math.max(...places.map(({ y }) => y)) + HEIGHT + EDGE;
  const at = new Map(nodes.map((node, index) => [node.id, places[index]]));
  return [h(
    "div", { class: "scroll dag-scroll", tabindex: 0, role: "region", "aria-label": t("dag") },
    h("div", { class: "dag", style: { width: `${width}px`, height: `${height}px` } },
      s("svg", { class: "dag-edges", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
        s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" },
          s("path", { class: "arrow", d: "M 0 0 L 8 4 L 0 8 z" }))),
        edges.map(([from, to]) => edgeLine(at.get(from), at.get(to), isShuffle(from, to, stagesOf), isNarrow))),
      h("ul", { class: "dag-nodes" },
        nodes.map((node) => nodeCard(node, at.get(node.id), stagesOf.get(node.id) ?? [], state)))),
  ),
    h("p", { class: "hint" }, t("dag.shuffle"), " ",
      request.dag.nodes.length > DRAWN_MAX ? t("dag.more", { shown: DRAWN_MAX, total: request.dag.nodes.length }) : null),
  ];
}

function stagesByNode(plan, stages) {
  const found = new Map();
  for (const [index, stage] of (plan?.stages ?? []).entries()) {
    for (const id of stage.node_ids) {
      found.set(id, [...(found.get(id) ?? []), { index: stage.index, ...stages[index] }]);
    }
  }
  return found;
}

function isShuffle(from, to, stagesOf) {
  const mine = new Set((stagesOf.get(from) ?? []).map((stage) => stage.index));
  const theirs = stagesOf.get(to) ?? [];
  return theirs.length > 0 && !theirs.some((stage) => mine.has(stage.index));
}

function nodeCard(node, place, stages, jobState) {
  const total = sum(stages, "tasks_total"), done = sum(stages, "tasks_completed");
  const whole = { tasks_total: total, tasks_completed: done, tasks_running: sum(stages, "tasks_running"), tasks_skipped: sum(stages, "tasks_skipped"), failed_attempts: sum(stages, "failed_attempts") };
  const state = stages.length ? stageState(whole, jobState) : "PENDING";
  const what = [node.op, node.fn_name ?? node.expr ?? null].filter(Boolean).join(" · ");
  return h(
    "li",
    { class: `node ${state}`, "data-key": node.id, style: { left: `${place.x}px`, top: `${place.y}px`, width: `${WIDTH}px`, height: `${HEIGHT}px` } },
    h("div", { class: "line" },
      own(node.id, { class: "node-id", title: node.id }),
      stages.length ? h("span", { class: "tag", title: t("stage.of") }, stages.map((stage) => stage.index).join(", ")) : null),
    own(what, { class: "node-what", title: what }),
    progress(total ? (100 * done) / total : 0, `${node.id}: ${done}/${total}`, state),
    h("div", { class: "line small" },
      h("span", {}, !stages.length ? t("dag.waits") : state === "SKIPPED" ? stateWord(state) : `${count(done)} / ${count(total)}`),
      whole.failed_attempts ? h("span", { class: "failed" }, `✕ ${count(whole.failed_attempts)}`) : null),
  );
}

function sum(stages, name) {
  return stages.reduce((total, stage) => total + (stage[name] ?? 0), 0);
}

function edgeLine(from, to, isShuffleEdge, isNarrow) {
  const [x1, y1] = isNarrow ? [from.x + WIDTH / 2, from.y + HEIGHT] : [from.x + WIDTH, from.y + HEIGHT / 2];
  const [x2, y2] = isNarrow ? [to.x + WIDTH / 2, to.y] : [to.x, to.y + HEIGHT / 2];
  const bend = isNarrow
    ? `C ${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}`
    : `C ${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}`;
  return s("path", { class: isShuffleEdge ? "edge shuffle" : "edge", d: `M ${x1} ${y1} ${bend}`, "marker-end": "url(#arrow)" });
}

/** Where each node stands: layers by the longest way from a reader, few crossings between them. */
function layout(nodes, edges, isNarrow) {
  const rank = ranks(nodes, edges);
  const layers = [];
  nodes.forEach((node) => (layers[rank.get(node.id)] ??= []).push(node.id));
  untangle(layers, edges);
  const widest = Math.max(...layers.map((layer) => layer.length));
  const across = (isNarrow ? WIDTH : HEIGHT) + GAP_ACROSS;
  const along = (isNarrow ? HEIGHT : WIDTH) + GAP_ALONG;
  const places = new Map();
  layers.forEach((layer, depth) => layer.forEach((id, index) => {
    const side = EDGE + across * (index + (widest - layer.length) / 2);
    const deep = EDGE + along * depth;
    places.set(id, isNarrow ? { x: side, y: deep } : { x: deep, y: side });
  }));
  return nodes.map((node) => places.get(node.id));
}

function ranks(nodes, edges) {
  const rank = new Map(nodes.map((node) => [node.id, 0]));
  for (let round = 0, isChanged = true; isChanged && round < nodes.length; round += 1) {
    isChanged = false;
    for (const [from, to] of edges) {
      if (rank.get(to) <= rank.get(from)) {
        rank.set(to, rank.get(from) + 1);
        isChanged = true;
      }
    }
  }
  const used = [...new Set(rank.values())].sort((a, b) => a - b);
  return new Map([...rank].map(([id, value]) => [id, used.indexOf(value)]));
}

/** Each node goes to the middle of its neighbours in the layer before or behind. */
function untangle(layers, edges) {
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const isForward = sweep % 2 === 0;
    for (let step = 1; step < layers.length; step += 1) {
      const depth = isForward ? step : layers.length - 1 - step;
      const fixed = layers[isForward ? depth - 1 : depth + 1];
      const middle = new Map(layers[depth].map((id, index) => {
        const near = edges
          .filter(([from, to]) => (isForward ? to : from) === id)
          .map(([from, to]) => fixed.indexOf(isForward ? from : to))
          .filter((place) => place >= 0);
        return [id, near.length ? near.reduce((a, b) => a + b) / near.length : index];
      }));
      layers[depth].sort((a, b) => middle.get(a) - middle.get(b));
    }
  }
}
