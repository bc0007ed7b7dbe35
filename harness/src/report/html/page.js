// What is shown is in the address: #arch=x86_64&open=b-0123456789&step=3 shows the same to whoever gets the link.
"use strict";
const all = (what, inside = document) => [...inside.querySelectorAll(what)];
const wanted = new URLSearchParams(location.hash.slice(1));
const filters = all(".filters select");
// A plain #b-0123456789 opens that bucket.
for (const article of all("article")) {
  if (wanted.has(article.id)) { wanted.delete(article.id); wanted.set("open", article.id); }
}

function remember(name, value) {
  if (value === "") wanted.delete(name); else wanted.set(name, value);
  history.replaceState(null, "", "#" + wanted);
}

function filter() {
  let shown = 0;
  for (const article of all("article")) {
    const fits = filters.every((f) => f.value === "" || article.dataset[f.name].split(" ").includes(f.value));
    article.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = shown + " of " + all("article").length + " buckets";
}

function go(article, step) {
  const steps = all(".steps > li", article);
  if (steps.length === 0) return;
  const at = Math.min(Math.max(step, 0), steps.length - 1);
  steps.forEach((li, i) => { li.hidden = i !== at; });
  article.querySelector("input").value = at;
  article.querySelector("output").textContent = "step " + (at + 1) + " of " + steps.length;
  article.dataset.step = at;
}

for (const select of filters) {
  if (wanted.has(select.name)) select.value = wanted.get(select.name);
  select.addEventListener("change", () => { remember(select.name, select.value); filter(); });
}
for (const article of all("article")) {
  const last = all(".steps > li", article).length - 1;
  const control = article.querySelector(".control");
  if (control) {
    control.hidden = false;
    const to = (step) => { go(article, step); remember("step", article.dataset.step); };
    article.querySelector(".earlier").addEventListener("click", () => to(+article.dataset.step - 1));
    article.querySelector(".later").addEventListener("click", () => to(+article.dataset.step + 1));
    article.querySelector("input").addEventListener("input", (event) => to(+event.target.value));
  }
  const details = article.querySelector("details");
  const mine = wanted.get("open") === article.id;
  go(article, mine && wanted.has("step") ? +wanted.get("step") : last);
  if (mine) { details.open = true; article.scrollIntoView(); }
  details.addEventListener("toggle", () => { if (details.open) { remember("open", article.id); remember("step", article.dataset.step || ""); } });
}
filter();
