// Additions only: the page says everything without this.
(() => {
  const valueOf = (cell) => {
    const data = cell.querySelector("data");
    const number = data ? Number(data.value) : NaN;
    return Number.isNaN(number) ? null : number;
  };

  const compare = (a, b) => {
    const [x, y] = [valueOf(a), valueOf(b)];
    if (x !== null && y !== null) return x - y;
    if (x !== null || y !== null) return x === null ? 1 : -1;
    return a.textContent.trim().localeCompare(b.textContent.trim(), undefined, { numeric: true });
  };

  const sort = (table, column, header) => {
    const descending = header.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column]));
    body.append(...(descending ? rows.reverse() : rows));
  };

  document.querySelectorAll("table.sortable").forEach((table) => {
    if (table.tBodies[0].rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sort(table, column, header));
      header.append(button);
    });
  });

  document.querySelectorAll("table.search").forEach((table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length <= 12) return;
    const label = document.createElement("label");
    const input = document.createElement("input");
    const found = document.createElement("output");
    label.className = "search-box";
    input.type = "search";
    label.append("Search", input, found);
    input.addEventListener("input", () => {
      const word = input.value.trim().toLowerCase();
      rows.forEach((row) => { row.hidden = !row.cells[0].textContent.toLowerCase().includes(word); });
      found.textContent = word ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
    });
    table.closest(".scroll").before(label);
  });

  // A row under the pointer lights up the rows of the same name in the other tables.
  const named = new Map();
  document.querySelectorAll("tr[data-row]").forEach((row) => {
    named.set(row.dataset.row, [...(named.get(row.dataset.row) ?? []), row]);
  });
  const light = (row, on) => (named.get(row.dataset.row) ?? []).forEach((other) => other.classList.toggle("lit", on));
  named.forEach((rows) => rows.forEach((row) => {
    row.addEventListener("pointerenter", () => light(row, true));
    row.addEventListener("pointerleave", () => light(row, false));
  }));
})();
