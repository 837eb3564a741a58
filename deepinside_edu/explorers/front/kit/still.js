// The still picture that a saved notebook shows instead of the widget.

/** Hide the box until the kernel answers; a saved page shows the still picture instead. The two outputs before this one
 * hold a sentence, which identifies them, and the picture. Without a picture the box appears and says why. */
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
