// Draws the figures of a report. plotly.js is in the page itself, compressed.
(async () => {
  const packed = document.getElementById("plotly").textContent;
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  const narrow = window.matchMedia("(max-width: 40rem)");
  const draw = (place) => {
    const { data, layout } = JSON.parse(place.querySelector("script").textContent);
    const least = place.dataset.least;
    const target = place.querySelector(".plot");
    if (least) target.style.width = `${least}px`;
    else if (narrow.matches) layout.margin = { ...layout.margin, l: 44, r: 8 };
    const options = { displayModeBar: false, responsive: !least, scrollZoom: false };
    return Plotly.newPlot(target, data, layout, options);
  };
  // one after the other, as they come into view: the first is there at once
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "600px" });
  const places = document.querySelectorAll(".drawn");
  window.addEventListener("beforeprint", () => places.forEach((place) => { seen.unobserve(place); draw(place); }));
  places.forEach((place) => seen.observe(place));
})().catch((error) => {
  const note = document.createElement("p");
  note.textContent = `The figures need a browser of 2023 or later (${error}).`;
  document.querySelector("main").prepend(note);
});
