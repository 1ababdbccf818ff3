// Another target or probability, judged at once from the draws that the answer carries. The rule is
// that of popk.individual (share_above, longest_interval); the server's answer replaces it.

function share(values, target) {
  // A draw that could not be computed counts as below.
  return values.filter((value) => value !== null && value >= target).length / values.length;
}

export function judge(answer, target, asked) {
  const { troughs, before } = answer.draws;
  const { weeks } = answer.probability_by_week;
  const probability = troughs.map((values, k) => {
    const own = share(values, target);
    return before ? Math.min(own, share(before[k], target)) : own;
  });
  const fails = probability.findIndex((p) => !(p >= asked));
  const count = fails === -1 ? weeks.length : fails;
  return { target, asked, probability, longest: count ? weeks[count - 1] : null };
}

export function steps(slider, highest) {
  const size = 10 ** Math.floor(Math.log10(highest / 100));
  const step = [1, 2, 5, 10].map((s) => s * size).find((s) => highest / s <= 200);
  const plain = Number(step.toPrecision(3));
  slider.min = plain;
  slider.step = plain;
  slider.max = Number((Math.ceil(highest / plain) * plain).toPrecision(6));
}
