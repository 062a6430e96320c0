// Gradient: how far the loss reaches back in the text, what that means, and why.

import * as api from "../api.js";
import { doublingHistogram, lagChart, shareBars } from "../charts.js";
import { h, oneAtATime } from "../dom.js";
import { t } from "../i18n.js";
import { state, watch } from "../store.js";
import { sayVerdict } from "../verdict.js";

export function gradient(root, { signal, report }) {
  const chart = h("div");
  const verdict = h("div", { class: "verdict", role: "status" });
  const saturation = h("div");
  const constants = h("div");
  const constantsCard = h("section", { class: "card" }, h("h2", null, t("constants")), h("p", { class: "soft hint" }, t("constants_hint")), constants);
  const saturationCard = h("section", { class: "card" }, h("h2", null, t("saturation")), h("p", { class: "soft hint" }, t("saturation_hint")), saturation);
  let everyone = false;
  const all = h("label", { class: "check" },
    h("input", { type: "checkbox", id: "all-runs", onchange: (event) => { everyone = event.target.checked; load(); } }),
    t("all_runs"));
  root.replaceChildren(
    h("div", { class: "two wide-left" },
      h("div", { class: "column" },
        h("section", { class: "card" },
          h("div", { class: "card-head" }, h("h1", null, t("reach_title")), state.runs.length > 1 ? all : null),
          h("p", { class: "soft hint" }, t("reach_hint")),
          chart),
        constantsCard),
      h("div", { class: "column" },
        h("section", { class: "card" }, h("h2", null, t("verdict")), verdict),
        saturationCard)));

  const load = oneAtATime(async () => {
    const asked = { run: state.run, text: state.text };
    chart.classList.add("waiting");
    if (!chart.firstChild) chart.replaceChildren(h("p", { class: "soft" }, t("computing")));
    try {
      const others = everyone
        ? state.runs.filter((one) => one.task === "lm" && one.name !== asked.run).map((one) => one.name)
        : [];
      const answers = await Promise.all([asked.run, ...others].map(
        (name) => api.gradient({ run: name, text: asked.text })));
      if (signal.aborted) return;
      report(null);
      show(answers, [asked.run, ...others]);
    } catch (error) {
      if (!signal.aborted) fail(error);
    } finally {
      chart.classList.remove("waiting");
    }
  });

  function fail(error) {
    if (error.code === "vocabulary" || [...state.text].length >= 4) report(error);
    chart.replaceChildren(h("p", { class: "soft" }, t("too_short")));
    verdict.replaceChildren();
    saturationCard.hidden = true;
    constantsCard.hidden = true;
  }

  function linesOf(answer, name, series) {
    const states = Object.keys(answer.reach).filter((key) => key !== "x");
    const keys = states.length ? states : ["x"];
    if (everyone) { // one line a run: the state that carries farthest
      const said = answer.verdict;
      const key = said?.state ?? keys[0];
      return [{ label: name, values: answer.reach[key][said?.layer ?? 0], series }];
    }
    const several = answer.reach[keys[0]].length > 1;
    return keys.flatMap((key, i) => answer.reach[key].map((values, layer) => ({
      label: several ? `${key} · ${layer + 1}` : key, values, series: (i + 2 * layer) % 5,
    })));
  }

  function show(answers, names) {
    const [own] = answers;
    const lines = answers.flatMap((answer, i) => linesOf(answer, names[i], i % 5));
    chart.replaceChildren(lagChart({ lines, xTitle: t("reach_x"), yTitle: t("reach_y"), label: t("reach_title") }));
    const said = everyone ? answers.map((answer, i) => [names[i], answer.verdict]) : [[null, own.verdict]];
    verdict.replaceChildren(...said.map(([name, one]) => sayVerdict(one, name)));
    const layers = own.saturation;
    saturationCard.hidden = !layers.length;
    saturation.replaceChildren(...layers.map((gates, k) => h("div", null,
      layers.length > 1 ? h("h3", null, `${t("layer")} ${k + 1}`) : null,
      h("div", { class: "shares-head soft" }, h("span", null, t("shut")), h("span", null, t("wide"))),
      shareBars(Object.entries(gates).map(([name, [low, high]]) => ({ name: t("signal")[name] ?? name, low, high })), { shut: t("shut"), wide: t("wide") }))));
    constantsCard.hidden = !own.time_constants.length;
    constants.replaceChildren(...own.time_constants.map((values) =>
      doublingHistogram(values, { xTitle: t("steps"), yTitle: t("units"), label: t("constants") })));
  }

  watch((changed) => {
    if (changed.has("run") || changed.has("text")) load();
  }, signal);
  load();
  return { step: () => false };
}
