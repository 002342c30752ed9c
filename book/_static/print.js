// Paper is light: a page that is read in the dark theme is printed in the light one.
(() => {
  const page = document.documentElement.dataset;
  let read;
  addEventListener("beforeprint", () => {
    read = page.theme;
    page.theme = "light";
  });
  addEventListener("afterprint", () => {
    page.theme = read;
  });
})();
