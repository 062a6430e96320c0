// Report: what was measured of the run when the file was made, as it was written then.

import { drawFigures } from "../figures.js";

const article = document.getElementById("report"); // in a file alone; the server has none

export function report(root, { signal }) {
  root.replaceChildren(article);
  drawFigures(article, signal);
  article.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    event.preventDefault(); // the address names what the page shows
    document.querySelector(link.getAttribute("href")).scrollIntoView();
  }, { signal });
  return { step: () => false };
}
