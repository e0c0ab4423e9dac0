// The slider over choices, and the map of layers that follows it. Everything that is shown was
// written by the template: here it is hidden, shown and marked.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// What is in float, in the map.
const mapOf = (root) => {
  const layers = all("li[data-place]", root).map((item) => ({
    item,
    place: Number(item.dataset.place),
    line: item.firstElementChild,
    fixed: "fixed" in item.dataset,
  }));
  const modules = all("details", root).map((details) => ({
    details,
    line: details.querySelector(".line"),
    layers: layers.filter((layer) => details.contains(layer.item)),
  }));
  const tell = (line, words, kept) => {
    line.classList.toggle("kept", kept);
    line.querySelector(".is").textContent = words;
  };
  const mark = (places) => {
    const kept = new Set(places);
    for (const { line, place, fixed } of layers) {
      tell(line, kept.has(place) ? "float" : fixed ? "always float" : "", kept.has(place));
    }
    for (const module of modules) {
      module.kept = module.layers.filter((layer) => kept.has(layer.place)).length;
      tell(module.line, module.kept ? `${module.kept} of ${module.layers.length} float` : "", module.kept > 0);
    }
  };
  for (const button of all("[data-open]", root)) {
    button.addEventListener("click", () => {
      for (const { details } of modules) {
        details.open =
          button.dataset.open === "all" ||
          (button.dataset.open === "kept" && details.querySelector("li > .line.kept") !== null);
      }
    });
  }
  // Arrow keys go through what is open, as in a tree.
  root.addEventListener("keydown", (event) => {
    const here = event.target.closest("summary");
    if (here === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const open = here.parentElement;
    const seen = all("summary", root).filter((summary) => summary.checkVisibility());
    const at = seen.indexOf(here);
    const go = {
      ArrowDown: () => seen[at + 1]?.focus(),
      ArrowUp: () => seen[at - 1]?.focus(),
      ArrowRight: () => (open.open ? open.querySelector(":scope > ul summary")?.focus() : (open.open = true)),
      ArrowLeft: () =>
        open.open ? (open.open = false) : open.parentElement.closest("details")?.querySelector("summary").focus(),
    }[event.key];
    if (go === undefined) return;
    event.preventDefault();
    go();
  });
  return mark;
};

for (const explorer of all(".explorer")) {
  const slider = explorer.querySelector("input[type=range]");
  const choices = all(":scope > .choice", explorer);
  const mark = mapOf(explorer.querySelector(".heat"));
  const [count, title, gist] = [".count", ".now strong", ".now .gist"].map((name) => explorer.querySelector(name));
  const every = explorer.querySelector(".every");
  const budget = explorer.querySelector(".budget");
  const answer = explorer.querySelector(".answer-line");
  const chart = explorer.dataset.chart;
  let line = choices;
  let current = choices.find((choice) => !choice.hidden);

  const show = (choice) => {
    current.hidden = true;
    choice.hidden = false;
    current = choice;
    const at = line.indexOf(choice);
    slider.value = at;
    slider.setAttribute("aria-valuetext", choice.dataset.gist);
    count.textContent = `${at + 1} of ${line.length}`;
    title.textContent = choice.querySelector("h3, h4, h5").firstChild.textContent.trim();
    gist.textContent = choice.dataset.gist;
    mark(choice.dataset.layers.split(" ").filter(Boolean).map(Number));
    point();
  };
  // Its mark in the chart, which Vega makes anew when the width changes.
  const point = () => {
    if (!chart) return;
    for (const symbol of all(`#${chart} [role=graphics-symbol][aria-label]`)) {
      symbol.classList.toggle("shown", symbol.getAttribute("aria-label") === current.dataset.mark);
    }
  };
  const range = () => {
    line = every === null || every.checked ? choices : choices.filter((c) => "main" in c.dataset || c === current);
    slider.max = line.length - 1;
    slider.disabled = line.length < 2;
    show(current);
  };
  slider.addEventListener("input", () => {
    answer.textContent = "";
    show(line[Number(slider.value)]);
  });
  every?.addEventListener("change", range);
  budget?.addEventListener("change", () => {
    answer.textContent = "";
    if (budget.value === "") return;
    const least = Number(budget.dataset.sign) * Number(budget.value);
    const keeping = choices.filter((choice) => "value" in choice.dataset && Number(choice.dataset.value) >= least);
    if (keeping.length === 0) {
      answer.textContent = "No choice that was measured keeps this.";
      return;
    }
    const best = keeping.reduce((one, other) => (Number(other.dataset.price) < Number(one.dataset.price) ? other : one));
    if (!line.includes(best)) line = choices.filter((choice) => line.includes(choice) || choice === best);
    slider.max = line.length - 1;
    show(best);
    answer.textContent = `The cheapest that keeps this: ${title.textContent}.`;
  });
  range();
  if (chart) {
    const drawing = document.querySelector(`#${chart} .drawing`);
    new MutationObserver(point).observe(drawing, { childList: true, subtree: true });
  }
}

for (const map of all(".heat")) if (map.closest(".explorer") === null) mapOf(map);

// Copying. A page opened from a disk may have no clipboard of its own: then by selecting the text.
for (const button of all(".copy")) {
  const words = button.textContent;
  const text = button.parentElement.querySelector("code");
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      getSelection().selectAllChildren(text);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = words), 2000);
  });
}
