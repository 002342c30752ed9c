// Excerpts of search results are of the text of a page, without the buttons above it, letters of figures, and code.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return; // on every page but that of the search
  const textOf = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const other = ".bd-header-article, #jb-print-docs-body, svg, .cell_input, details.hide > summary, .citation > .label";
    page.querySelectorAll(other).forEach((part) => part.remove());
    page.querySelectorAll("p, li, dt, dd, th, td").forEach((part) => part.append(" ")); // words stay apart
    return textOf(page.documentElement.outerHTML, anchor);
  };
  Object.assign(Documentation.TRANSLATIONS, {
    "Your search did not match any documents. Please make sure that all words are spelled correctly and that you've selected enough categories.":
      "No page has all of these words.",
    "Search finished, found ${resultCount} page(s) matching the search query.": "Places found: ${resultCount}.",
  });
});
