// A table that is wider than the page scrolls: it can be focused, and says which table it is.
document.addEventListener("DOMContentLoaded", () => {
  const watch = new ResizeObserver((boxes) => {
    for (const { target: box } of boxes) {
      if (box.scrollWidth > box.clientWidth) {
        const caption = box.querySelector("caption .caption-text, caption");
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", `Table, scrolls sideways: ${caption?.textContent ?? "no caption"}`);
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
      }
    }
  });
  for (const box of document.querySelectorAll(".pst-scrollable-table-container")) watch.observe(box);
});
