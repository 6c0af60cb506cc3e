// Elements made from data, and a page brought to look like new ones without losing focus or scroll.
// Text is always text: nothing here reads markup. Must not know what is shown.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("a", {class: "x", href: "#"}, "text", child, null). `style` is an object. */
export function h(name, attributes, ...children) {
  return build(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes, ...children) {
  return build(document.createElementNS(SVG, name), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "style") {
      for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...nodesOf(children));
  return element;
}

function nodesOf(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** A job's own text: set apart, so that its direction of writing turns nothing else around. */
export function own(text, attributes) {
  return h("bdi", attributes, text);
}

/** Makes the children of `parent` look like `children`; elements with the same data-key stay. */
export function morph(parent, ...children) {
  const wanted = nodesOf(children);
  const keyed = new Map();
  for (const child of parent.children) {
    const key = child.getAttribute("data-key");
    if (key !== null) keyed.set(key, child);
  }
  const kept = new Set();
  let at = parent.firstChild;
  for (const next of wanted) {
    const key = next.nodeType === Node.ELEMENT_NODE ? next.getAttribute("data-key") : null;
    while (at !== null && kept.has(at)) at = at.nextSibling;
    const old = key === null ? at : keyed.get(key);
    if (old && !kept.has(old) && isAlike(old, next)) {
      if (old !== at) parent.insertBefore(old, at);
      patch(old, next);
      kept.add(old);
      at = old.nextSibling;
    } else {
      parent.insertBefore(next, at);
      kept.add(next);
    }
  }
  for (const child of [...parent.childNodes]) if (!kept.has(child)) child.remove();
}

function isAlike(old, next) {
  if (old.nodeName !== next.nodeName) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) return true;
  return old.getAttribute("data-key") === next.getAttribute("data-key");
}

function patch(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !isOfTheUser(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (old.getAttribute(name) === value || isOfTheUser(old, name)) continue;
    // the policy forbids style attributes, not styles
    if (name === "style") old.style.cssText = next.style.cssText;
    else old.setAttribute(name, value);
  }
  if (old.hasAttribute("data-still")) return;
  morph(old, ...next.childNodes);
}

/** What whoever looks at the page opened or typed stays as it is. */
function isOfTheUser(element, name) {
  return name === "open" && element.nodeName === "DETAILS";
}
