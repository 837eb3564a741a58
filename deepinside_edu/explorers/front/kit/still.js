// The still picture that a saved notebook shows in the widget's place.

/** Where nobody answers, in a saved page, the box stays away, and the still picture is what is seen. It comes in the
 * two outputs before this one: a sentence, by which both are known, and the picture. Where there is none, the box
 * says why. */
export function comeAlive(kernel, el, box) {
  const stills = () => {
    for (let row = el; row; row = row.parentElement) {
      const picture = row.previousElementSibling,
        sentence = picture?.previousElementSibling;
      const words = sentence?.matches(".deepinside-still") ? sentence : sentence?.querySelector(".deepinside-still");
      if (words && words.textContent.trim() === sentence.textContent.trim()) return [sentence, picture];
    }
    return [];
  };
  let hidden = [],
    gone = false;
  const look = () => {
    if (gone) return;
    if (!el.isConnected) return requestAnimationFrame(look);
    const found = stills();
    box.hidden = !kernel.answers && (found.length > 0 || !kernel.silent);
    if (!kernel.answers) return;
    hidden = found;
    hidden.forEach((each) => {
      each.style.display = "none";
    });
    kernel.listeners.delete(look);
  };
  kernel.listeners.add(look);
  look();
  return () => {
    gone = true;
    kernel.listeners.delete(look);
    hidden.forEach((each) => {
      each.style.display = "";
    });
  };
}
