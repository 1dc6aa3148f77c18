/* Comfort only: the page is complete without it. */
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  /* A link into a closed section opens it. */
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    const own = target.querySelector(":scope > details");
    if (own) own.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  /* Paper shows everything. */
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    closed.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((details) => { details.open = false; }));

  /* One button opens and closes all sections. */
  const nav = document.querySelector("nav");
  const toggle = document.createElement("button");
  toggle.type = "button";
  toggle.textContent = "Open all sections";
  toggle.addEventListener("click", () => {
    const open = toggle.textContent.startsWith("Open");
    all("main details").forEach((details) => { details.open = open; });
    toggle.textContent = open ? "Close all sections" : "Open all sections";
  });
  nav.append(toggle);

  /* Paragraphs to paste can be copied. */
  if (navigator.clipboard) all("blockquote.paste").forEach((block) => {
    const copy = document.createElement("button");
    copy.type = "button";
    copy.className = "copy";
    copy.textContent = "Copy";
    copy.addEventListener("click", () => {
      navigator.clipboard.writeText(block.innerText.trim()).then(() => { copy.textContent = "Copied"; });
    });
    block.before(copy);
  });

  /* Averages on the scale of the analysis instead of the one they are read on. */
  const averages = all("td[data-other]");
  if (averages.length > 0) {
    const [read, other] = [document.body.dataset.scale, document.body.dataset.other];
    const swap = document.createElement("button");
    const tables = [...new Set(averages.map((cell) => cell.closest("table")))];
    swap.type = "button";
    swap.textContent = `Averages as ${other}`;
    swap.addEventListener("click", () => {
      averages.forEach((cell) => {
        const note = cell.querySelector("small");
        [cell.firstChild.data, cell.dataset.other] = [cell.dataset.other, cell.firstChild.data];
        if (note) [note.textContent, cell.dataset.otherNote] = [cell.dataset.otherNote, note.textContent];
      });
      const on = swap.textContent.endsWith(other);
      swap.textContent = `Averages as ${on ? read : other}`;
      const [from, to] = on ? [read, other] : [other, read];
      tables.forEach((table) => {
        all("thead th", table).forEach((head) => {
          const text = document.createTreeWalker(head, NodeFilter.SHOW_TEXT).nextNode();
          if (text) text.data = text.data.replace(`(${from})`, `(${to})`);
        });
        const caption = table.querySelector("caption span");
        caption.dataset.scale = on ? ` (averages as ${other})` : "";
      });
    });
    nav.append(swap);
  }

  /* Sort a table by a column: numbers by value, text by alphabet, empty cells last. */
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  };
  all("table[data-sortable]").forEach((table) => {
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column].dataset.v;
        const rows = [...body.rows].sort((a, b) => {
          const order = compare(key(a), key(b));
          return down && key(a) !== "" && key(b) !== "" ? -order : order;
        });
        body.append(...rows);
      });
    });
  });
})();
