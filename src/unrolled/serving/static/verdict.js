// The verdict on a gradient's reach, in the page's language, from its numbers.

import { h } from "./dom.js";
import { fixed } from "./numbers.js";
import { state } from "./store.js";

const MARKS = { healthy: "✓", fading: "↘", vanishing: "↓", exploding: "↑", edge: "|", none: "∅" };

const HEADS = {
  en: { healthy: "Healthy", fading: "Fading", vanishing: "Vanishing", exploding: "Exploding", edge: "A hard edge", none: "No gradient" },
  pt: { healthy: "Saudável", fading: "Enfraquece", vanishing: "Desaparece", exploding: "Explode", edge: "Fim abrupto", none: "Sem gradiente" },
};

const halved = (v) => (v.half_life_steps ? `cai à metade a cada ${fixed(v.half_life_steps, 1)} passos; ` : "");

const PORTUGUESE = {
  healthy: (v) => [`O gradiente é sentido ${v.horizon_steps} passos atrás, de ${v.measured_steps} medidos.`, ""],
  fading: (v) => [
    `O gradiente enfraquece: ${halved(v)}é sentido ${v.horizon_steps} passos atrás.`,
    "Para lembrar por mais tempo, comece com a porta que guarda mais aberta (initialize.chrono).",
  ],
  vanishing: (v) => [
    `O gradiente desaparece: ${halved(v)}nada anterior a ${v.horizon_steps} passos pode ser aprendido.`,
    "Use uma célula com portas, ou a inicialização crono (initialize.chrono).",
  ],
  exploding: (v) => [
    `O gradiente cresce: nos ${v.measured_steps} passos medidos torna-se mais de dez vezes maior.`,
    "Limite a norma do gradiente, baixe a taxa de aprendizado ou comece com pesos recorrentes menores.",
  ],
  edge: (v) => [`A memória acaba de repente: ${v.horizon_steps + 1} passos são vistos, nada antes deles.`, "Mais camadas ou um núcleo mais largo veem mais longe."],
  none: () => ["Nenhum gradiente chega à camada.", "Procure unidades que nunca respondem."],
};

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const stop = (text) => (text && !text.endsWith(".") ? `${text}.` : text);

/** A verdict as an element; `name` is the run's, where there are several. */
export function sayVerdict(verdict, name) {
  if (!verdict) return h("p");
  const [sentence, advice] = state.language === "pt"
    ? PORTUGUESE[verdict.kind](verdict)
    : [stop(capital(verdict.sentence)), stop(capital(verdict.advice))];
  return h("div", { class: `said-verdict ${verdict.kind}`, "data-kind": verdict.kind },
    h("p", { class: "verdict-head" },
      h("span", { class: "verdict-mark", "aria-hidden": "true" }, MARKS[verdict.kind]),
      name ? `${name}: ` : null, HEADS[state.language][verdict.kind]),
    h("p", null, sentence),
    advice ? h("p", { class: "soft" }, advice) : null);
}
