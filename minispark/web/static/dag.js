// A job's operators as drawn nodes, with the progress of their stages inside.
// Must not know how a job runs.

import { h, own, s } from "./dom.js";
import { count } from "./format.js";
import { progress } from "./parts.js";
import { stageState } from "./stages.js";
import { stateWord, t } from "./words.js";

const HEIGHT = 76, GAP_ACROSS = 16, EDGE = 8;
const WIDTH_MAX = 158, WIDTH_MIN = 122, GAP_MAX = 42, GAP_MIN = 22;
const WIDTH_NARROW = 140; // smaller type below
const SWEEPS = 4;
const DRAWN_MAX = 256;

/** `stages`: StageStats in plan order; `plan`: the physical plan, or null while there is none;
 *  `room`: {width, isNarrow}, where it is to be drawn. */
export function dagView({ request, state }, plan, stages, room) {
  const nodes = request.dag.nodes.slice(0, DRAWN_MAX);
  const known = new Set(nodes.map((node) => node.id));
  const edges = request.dag.edges.filter(([from, to]) => known.has(from) && known.has(to));
  const stagesOf = stagesByNode(plan, stages);
  const drawing = layout(nodes, edges, room);
  const { width, height, places } = drawing;
  return [h(
    "div", { class: "scroll dag-scroll", tabindex: 0, role: "region", "aria-label": t("dag") },
    h("div", { class: "dag", style: { width: `${width}px`, height: `${height}px` } },
      s("svg", { class: "dag-edges", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
        s("defs", {}, s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 5, markerHeight: 5, orient: "auto" },
          s("path", { class: "arrow", d: "M 0 0 L 8 4 L 0 8 z" }))),
        drawing.ways.map((way) => edgeLine(way, isShuffle(way[0], way.at(-1), stagesOf), drawing))),
      h("ul", { class: "dag-nodes" },
        nodes.map((node) => nodeCard(node, places.get(node.id), drawing.nodeWidth, stagesOf.get(node.id) ?? [], state)))),
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

function nodeCard(node, place, width, stages, jobState) {
  const total = sum(stages, "tasks_total"), done = sum(stages, "tasks_completed");
  const whole = { tasks_total: total, tasks_completed: done, tasks_running: sum(stages, "tasks_running"), tasks_skipped: sum(stages, "tasks_skipped"), failed_attempts: sum(stages, "failed_attempts") };
  const state = stages.length ? stageState(whole, jobState) : "PENDING";
  const what = [node.op, node.fn_name ?? node.expr ?? null].filter(Boolean).join(" · ");
  return h(
    "li",
    { class: `node ${state}${width < WIDTH_NARROW ? " narrow" : ""}`, "data-key": node.id, style: { left: `${place.x}px`, top: `${place.y}px`, width: `${width}px`, height: `${HEIGHT}px` } },
    own(node.id, { class: "node-id", title: node.id }),
    own(what, { class: "node-what", title: what }),
    progress(total ? (100 * done) / total : 0, `${node.id}: ${done}/${total}`, state),
    h("div", { class: "line small" },
      h("span", {}, !stages.length ? t("dag.waits") : state === "SKIPPED" ? stateWord(state) : `${count(done)} / ${count(total)}`),
      whole.failed_attempts ? h("span", { class: "failed" }, `✕ ${count(whole.failed_attempts)}`) : null,
      stages.length ? h("span", { class: "tag", title: t("stage.of") }, stages.map((stage) => stage.index).join(", ")) : null),
  );
}

function sum(stages, name) {
  return stages.reduce((total, stage) => total + (stage[name] ?? 0), 0);
}

/** Through the middles of the places that were kept free for it. */
function edgeLine(way, isShuffleEdge, { places, nodeWidth, isNarrow }) {
  const ends = way.map((id) => {
    const { x, y } = places.get(id);
    return isNarrow
      ? { in: [x + nodeWidth / 2, y], out: [x + nodeWidth / 2, y + HEIGHT] }
      : { in: [x, y + HEIGHT / 2], out: [x + nodeWidth, y + HEIGHT / 2] };
  });
  let line = `M ${ends[0].out.join(" ")}`;
  for (let index = 1; index < ends.length; index += 1) {
    const [x1, y1] = ends[index - 1].out, [x2, y2] = ends[index].in;
    const middle = isNarrow ? (y1 + y2) / 2 : (x1 + x2) / 2;
    line += isNarrow ? ` C ${x1} ${middle} ${x2} ${middle} ${x2} ${y2}` : ` C ${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
    if (index < ends.length - 1) line += ` L ${ends[index].out.join(" ")}`;
  }
  return s("path", { class: isShuffleEdge ? "edge shuffle" : "edge", d: line, "marker-end": "url(#arrow)" });
}

/** Where each node stands: layers by the longest way from a reader, few crossings between them.
 *  An edge over several layers has a free place in each, so that it passes behind no node.
 *  A narrow drawing goes down, and layers that fit the room stay in it, whatever lies beside. */
function layout(nodes, edges, { width: room, isNarrow }) {
  const rank = ranks(nodes, edges);
  const layers = [];
  nodes.forEach((node) => (layers[rank.get(node.id)] ??= []).push(node.id));
  const ways = edges.map(([from, to], index) => {
    const way = [from];
    for (let depth = rank.get(from) + 1; depth < rank.get(to); depth += 1) {
      const id = `${index} ${depth}`; // no node has such an id
      layers[depth].push(id);
      way.push(id);
    }
    return [...way, to];
  });
  untangle(layers, ways.flatMap((way) => way.slice(1).map((id, index) => [way[index], id])));
  const widest = Math.max(...layers.map((layer) => layer.length));
  const step = (room - 2 * EDGE + (isNarrow ? GAP_ACROSS : 0)) / (isNarrow ? widest : layers.length);
  const gap = isNarrow ? GAP_MAX : Math.min(GAP_MAX, Math.max(GAP_MIN, 0.15 * step));
  const nodeWidth = Math.floor(Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, step - (isNarrow ? GAP_ACROSS : gap))));
  const across = (isNarrow ? nodeWidth : HEIGHT) + GAP_ACROSS;
  const along = (isNarrow ? HEIGHT : nodeWidth) + gap;
  const seen = isNarrow ? Math.min(widest, Math.max(1, Math.floor((room - 2 * EDGE + GAP_ACROSS) / across))) : widest;
  const places = new Map();
  layers.forEach((layer, depth) => layer.forEach((id, index) => {
    const side = EDGE + across * (index + Math.max(0, seen - layer.length) / 2);
    const deep = EDGE + along * depth;
    places.set(id, isNarrow ? { x: side, y: deep } : { x: deep, y: side });
  }));
  const sides = 2 * EDGE + across * widest - GAP_ACROSS, deeps = 2 * EDGE + along * layers.length - gap;
  const [width, height] = isNarrow ? [sides, deeps] : [deeps, sides];
  return { places, ways, nodeWidth, isNarrow, width, height };
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
