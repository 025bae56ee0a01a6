// Tiles cut from one sheet of pictures, in the order Python gives; a click or Enter picks one.

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector(".tiles");
  if (root.dataset.sheet !== data.name) {   // the picture is decoded once, whatever the order
    const raw = atob(data.sheet), bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const address = URL.createObjectURL(new Blob([bytes], { type: "image/webp" }));
    if (root.address) URL.revokeObjectURL(root.address);
    root.address = address;
    root.dataset.sheet = data.name;
    root.style.setProperty("--sheet", `url("${address}")`);
  }
  const across = Math.max(1, data.columns - 1), down = Math.max(1, data.rows - 1);
  const focused = root.querySelector("button:focus")?.dataset.index;
  root.replaceChildren(...data.order.map((index, place) => {
    const button = document.createElement("button"), picture = document.createElement("i"), text = document.createElement("span");
    button.type = "button";
    button.dataset.index = index;
    button.setAttribute("aria-pressed", index === data.picked);
    button.setAttribute("aria-label", `state ${index}, ${data.captions[place]}`);
    picture.style.aspectRatio = data.ratio;
    picture.style.backgroundSize = `${data.columns * 100}% ${data.rows * 100}%`;
    picture.style.backgroundPosition = `${(100 * (index % data.columns)) / across}% ${(100 * Math.floor(index / data.columns)) / down}%`;
    text.textContent = data.captions[place];
    button.append(picture, text);
    button.onclick = () => {
      root.querySelector('[aria-pressed="true"]')?.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", "true");
      setStateValue("picked", { index });
    };
    return button;
  }));
  if (focused !== undefined) root.querySelector(`[data-index="${focused}"]`)?.focus();
}
