/** The colour of a tier, from the palette's faintest tint to its strongest. */
export function tierColor(index: number, tiers: number): string {
  const share = tiers > 1 ? (index / (tiers - 1)) * 100 : 100;
  return `color-mix(in oklab, var(--tier-high) ${share.toFixed(0)}%, var(--tier-low))`;
}
