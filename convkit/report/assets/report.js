const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const read = (id) => JSON.parse(document.getElementById(id).textContent);

// Theme: colours are CSS variables everywhere, charts included, so nothing is drawn anew.
const root = document.documentElement;
const themes = ["auto", "light", "dark"];
const button = document.getElementById("theme");
const show = () => {
  button.textContent = `Theme: ${root.dataset.theme ?? "auto"}`;
};
button.addEventListener("click", () => {
  const next = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
  if (next === "auto") delete root.dataset.theme;
  else root.dataset.theme = next;
  try {
    localStorage.setItem("convkit-theme", next);
  } catch {
    // It lasts as long as the page, then.
  }
  show();
});
show();

// Charts. `ast` makes Vega interpret its expressions, so the page needs no right to make code.
const options = { renderer: "svg", actions: false, ast: true, tooltip: { theme: "custom" } };
const drawn = all(".plot").map(async (plot) => {
  const spec = read(`spec-${plot.dataset.chart}`);
  try {
    await window.vegaEmbed(plot.querySelector(".drawing"), spec, options);
    plot.dataset.state = "drawn";
  } catch (error) {
    plot.dataset.state = "failed";
    plot.querySelector(".reading").textContent = `The chart cannot be drawn: ${error.message}`;
    console.error(error);
  }
});
Promise.all(drawn).then(() => {
  root.dataset.charts = "done";
});

// Arrow keys read a chart mark by mark. Marks are looked up at every key, since Vega makes them anew
// when the width changes.
for (const plot of all(".plot")) {
  const reading = plot.querySelector(".reading");
  let at = -1;
  const mark = (index) => {
    const marks = all("[role=graphics-symbol][aria-label]:not(.mark-group)", plot);
    marks.forEach((element) => element.classList.remove("current"));
    if (index < 0 || marks.length === 0) return -1;
    const place = Math.min(Math.max(index, 0), marks.length - 1);
    marks[place].classList.add("current");
    reading.textContent = `${place + 1} of ${marks.length}: ${marks[place].getAttribute("aria-label")}`;
    return place;
  };
  plot.addEventListener("keydown", (event) => {
    const count = all("[role=graphics-symbol][aria-label]:not(.mark-group)", plot).length;
    const moves = {
      ArrowRight: at + 1,
      ArrowDown: at + 1,
      ArrowLeft: Math.max(at - 1, 0),
      ArrowUp: Math.max(at - 1, 0),
      Home: 0,
      End: count - 1,
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    at = mark(moves[event.key]);
  });
  plot.addEventListener("focus", () => {
    if (plot.matches(":focus-visible")) reading.textContent = "Arrow keys read the marks one by one.";
  });
  plot.addEventListener("blur", () => {
    at = mark(-1);
    reading.textContent = "";
  });
}

// Parts of the page's JSON, shown when they are asked for.
let whole;
const part = (element) => {
  whole ??= JSON.parse(document.querySelector("script[data-document]").textContent);
  const found = JSON.parse(element.dataset.pointer).reduce((value, key) => value[key], whole);
  return `${JSON.stringify(found, null, 1)}\n`;
};
for (const element of all(".document")) {
  element.querySelector("button").addEventListener("click", () => {
    const link = document.createElement("a");
    const address = URL.createObjectURL(new Blob([part(element)], { type: "application/json" }));
    link.href = address;
    link.download = element.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
  const raw = element.querySelector("details");
  raw.addEventListener("toggle", () => {
    const place = raw.querySelector("pre");
    if (raw.open && !place.textContent) place.textContent = part(element);
  });
}

// What scrolls sideways can be reached by the keyboard; what does not is no stop on the way.
const reachable = () => {
  for (const element of all(".scroll")) {
    if (element.scrollWidth > element.clientWidth) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  }
};
new ResizeObserver(reachable).observe(document.body);

// Links into something that is closed open it.
const reveal = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
};
addEventListener("hashchange", reveal);
reveal();

// Paper cannot be opened: what is closed is opened for it, except long lists.
let opened = [];
addEventListener("beforeprint", () => {
  opened = all("details:not([open]):not(.bulk):not(.raw)");
  opened.forEach((element) => (element.open = true));
});
addEventListener("afterprint", () => opened.forEach((element) => (element.open = false)));

// Where the reader is.
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-10% 0px -80% 0px" },
);
all("main > section").forEach((section) => seen.observe(section));
