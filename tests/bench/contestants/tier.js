// What a shop's page downloads by default.
export { Scorer } from "tiercast";
