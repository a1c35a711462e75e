// The map's behaviour: colours of the page's theme, what lies under the pointer, the colouring.
// Words of others become text of nodes, never markup. BokehJS takes functions where its Python
// side has CustomJS, whose strings the page's policy would have to let it evaluate.
"use strict";

document.addEventListener("DOMContentLoaded", async () => {
  const { plot: item, pairs } = JSON.parse(document.getElementById("map-data").textContent);
  const count = pairs.row.length;
  const [view] = (await Bokeh.embed.embed_item(item)).roots;
  const plot = view.model;
  const named = (name) => plot.document.get_model_by_name(name);
  const layers = ["modality", "label", "rank"].map(named).filter((layer) => layer != null);
  const points = layers[0].data_source;

  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const numbered = (name, n) => Array.from({ length: n }, (_, i) => colour(name + i));
  const palettes = {
    modality: () => [colour("image"), colour("text")],
    label: (n) => [...numbered("label", n - 1), colour("muted")],
    rank: (n) => numbered("step", n),
  };

  function paint() {
    for (const layer of layers) {
      const mapper = layer.glyph.fill_color.transform;
      mapper.palette = palettes[layer.name](mapper.palette.length);
    }
    for (const axis of [...plot.below, ...plot.left]) {
      axis.setv({
        axis_label_text_color: colour("muted"), major_label_text_color: colour("muted"),
        axis_line_color: colour("muted"), major_tick_line_color: null, minor_tick_line_color: null,
        axis_label_text_font_style: "normal",
      });
    }
    for (const grid of plot.center) grid.grid_line_color = colour("rule");
    for (const name of ["line", "ring"]) named(name).glyph.line_color = colour("ink");
  }

  // Of all marks under the pointer, the one whose middle is nearest to it.
  function nearest(indices, x, y) {
    const distance = (i) => Math.hypot(points.data.x[i] - x, points.data.y[i] - y);
    return [...indices].reduce((a, b) => (a != null && distance(a) <= distance(b) ? a : b), null);
  }

  // The tooltip of point i. It stands in a shadow tree, so its style travels with it.
  function card(i) {
    const pair = i % count;
    const found = document.getElementById("map-card").content.cloneNode(true);
    const fill = (name, words) => {
      const place = found.querySelector(`[data-slot=${name}]`);
      if (words == null) place.remove();
      else place.textContent = words;
    };
    fill("row", `Pair ${pairs.row[pair]}`);
    fill("label", pairs.label?.[pair]);
    fill("caption", pairs.caption?.[pair]);
    fill("image_to_text", pairs.image_to_text[pair].toLocaleString("en"));
    fill("text_to_image", pairs.text_to_image[pair].toLocaleString("en"));
    const picture = found.querySelector("img");
    if (pairs.picture == null) picture.remove();
    else picture.src = `data:image/webp;base64,${pairs.picture[pair]}`;
    for (const place of found.querySelectorAll(i < count ? ".image" : ".text")) {
      place.classList.add("here");
    }
    const node = document.createElement("div");
    node.append(found);
    return node;
  }

  // A change draws the plot, and drawing asks again: only another point is a change.
  let joined = null;
  function join(i) {
    if (i === joined) return;
    joined = i;
    const ends = i == null ? [] : [i % count, (i % count) + count];
    named("pair").data = {
      x: ends.map((end) => points.data.x[end]), y: ends.map((end) => points.data.y[end]),
    };
  }

  const hover = named("hover");
  hover.tooltips = (_, { index, indices, x, y }) => (index === nearest(indices, x, y) ? card(index) : null);
  hover.callback = (_, { geometry, index }) => join(nearest(index.indices, geometry.x, geometry.y));

  function show(name) {
    for (const layer of layers) layer.visible = layer.name === name;
    for (const legend of document.querySelectorAll("[data-colouring]")) {
      legend.hidden = legend.dataset.colouring !== name;
    }
  }
  // A browser may keep the choice when a page is loaded again.
  const choices = document.querySelectorAll("[name=colouring]");
  for (const choice of choices) {
    choice.addEventListener("change", () => show(choice.value));
    if (choice.checked) show(choice.value);
  }

  paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  document.getElementById("map").dataset.ready = "";
});
