"use strict";
const all = (what, where = document) => [...where.querySelectorAll(what)];
const button = (text, act) => Object.assign(document.createElement("button"), { type: "button", textContent: text, onclick: act });

// The head of a column sorts by it: rising, falling, as it was. What is not known stays last.
const names = new Intl.Collator("en", { numeric: true });
function sorted(rows, place, order) {
  const numeric = rows.some(row => "value" in row.cells[place].dataset);
  const known = cell => numeric ? "value" in cell.dataset : !cell.querySelector(".soft");
  return [...rows].sort((first, second) => {
    const a = first.cells[place], b = second.cells[place];
    if (!known(a) || !known(b)) return known(b) - known(a);
    return order * (numeric ? a.dataset.value - b.dataset.value : names.compare(a.textContent, b.textContent));
  });
}
for (const table of all("table")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = all("thead th", table);
  if (rows.length < 2) continue;
  heads.forEach((head, place) => head.textContent && head.replaceChildren(button(head.textContent, () => {
    const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    if (next) head.setAttribute("aria-sort", next);
    body.append(...(next ? sorted(rows, place, next === "ascending" ? 1 : -1) : rows));
  })));
}

// A picture goes into the dialog and back: it is never there twice, nor are the names in it.
const dialog = document.querySelector("dialog"), large = document.querySelector(".large");
let home;
function enlarge(figure) {
  home = figure.querySelector(".frame");
  home.style.minHeight = `${home.offsetHeight}px`;
  large.style.cssText = figure.style.cssText;
  large.append(...home.childNodes);
  document.querySelector(".explanation").replaceChildren(...figure.querySelector("figcaption").cloneNode(true).childNodes);
  dialog.showModal();
  dialog.querySelector("button").focus();
  large.scrollTo(0, 0);
}
dialog.onclose = () => { // by the escape key, too; late: another may be open
  if (dialog.open) return;
  home.append(...large.childNodes);
  home.style.minHeight = "";
};
dialog.onclick = event => {
  if (event.target !== dialog && !event.target.closest(".large, button")) return;
  dialog.close();
  dialog.onclose();
};
for (const figure of all("figure")) {
  const act = () => enlarge(figure), frame = figure.querySelector(".frame");
  frame.classList.add("zooms");
  frame.onclick = act;
  const more = figure.querySelector(".files") ?? figure.appendChild(Object.assign(document.createElement("p"), { className: "files" }));
  more.prepend(button("Enlarge", act));
  more.firstChild.setAttribute("aria-label", `Enlarge: ${figure.querySelector("b").textContent}`);
}

// What is closed opens when an address leads into it, and on paper.
function reveal() {
  const target = document.querySelector(":target");
  for (let around = target; around; around = around.parentElement) if (around.tagName === "DETAILS") around.open = true;
  const own = target?.querySelector(":scope > details");
  if (own) own.open = true;
  target?.scrollIntoView();
}
addEventListener("hashchange", reveal);
addEventListener("load", reveal);
let shut = [];
addEventListener("beforeprint", () => { shut = all("details:not([open])"); for (const details of shut) details.open = true; });
addEventListener("afterprint", () => { for (const details of shut) details.open = false; });

// Boxes that scroll can be reached by keyboard; others are no stop on the way.
const boxes = new ResizeObserver(entries => {
  for (const { target } of entries)
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
});
for (const box of all(".scroll")) boxes.observe(box);

// The contents say where on the page the reader is.
const links = new Map(all("nav a").map(link => [link.hash, link]));
const seen = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) links.get(`#${target.id}`)?.setAttribute("aria-current", isIntersecting);
}, { root: document, rootMargin: "-20% 0px -79% 0px" });
for (const part of all("main section, article")) seen.observe(part);

// Dark by day, or light by night.
const night = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
const dark = () => (root.dataset.theme ?? (night.matches ? "dark" : "light")) === "dark";
const theme = button("", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
const label = () => { theme.textContent = dark() ? "Light page" : "Dark page"; };
night.onchange = label;
label();
document.querySelector("nav").append(theme);
