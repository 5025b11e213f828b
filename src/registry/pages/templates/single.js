// What the scripts of all single pages share: the data of the page, and making elements.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

const $ = (selector) => document.querySelector(selector);
const $$ = (selector) => [...document.querySelectorAll(selector)];
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const percent = (share) => (share < 0.001 && share > 0 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

/** Numbers that the page has as base64, little-endian. */
const numbers = (Type, packed) => new Type(Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0)).buffer);

/** The colors of the style sheet as [red, green, blue], by their names. */
function schemeColors(...names) {
  const style = getComputedStyle(document.documentElement);
  const canvas = make("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (name) => {
    canvas.fillStyle = style.getPropertyValue(`--${name}`);
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  return Object.fromEntries(names.map((name) => [name, rgb(name)]));
}

/** The drawing context of a canvas of this size, sharp on every screen, and empty. */
function sized(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

/** Move through elements with arrow keys, one of which is in the tab order: `step(key, index)` is the next index. */
function roving(elements, step, select) {
  elements.forEach((element, index) => {
    element.tabIndex = index === 0 ? 0 : -1;
    element.addEventListener("keydown", (event) => {
      const next = step(event.key, index);
      if (next === undefined) return;
      event.preventDefault();
      const chosen = Math.min(Math.max(next, 0), elements.length - 1);
      elements[chosen].focus();
      select(chosen);
    });
  });
}
const inRow = (key, index) => ({ ArrowLeft: index - 1, ArrowUp: index - 1, ArrowRight: index + 1, ArrowDown: index + 1, Home: 0, End: Infinity })[key];
const onlyTabStop = (elements, chosen) => elements.forEach((element, index) => (element.tabIndex = index === chosen ? 0 : -1));
