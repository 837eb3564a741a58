import { english } from "./english.js";

/** Every word that a person sees in the browser: a second language is a file like english.js. */
export const texts = english;
