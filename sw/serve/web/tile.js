// The tile: the page of a token's timetable in a frame, whose cursor moves while tokens are made.
const SWEEP_S = 4, // seconds in which the cursor goes through a token, however quickly tokens come
  INSIDE = `html { overflow: hidden } header, nav, aside { display: none } main { border: 0; grid-template-columns: minmax(0, 1fr) }
    #replay { order: -1; border: 0 }
    @media (min-width: 640px) { #replay { grid-template-columns: minmax(0, 400px) minmax(0, 1fr) } }`;
const pages = new Map(); // by block of positions: tokens in a block have the same timetable
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let shown = null,
  wantedBlock = 0,
  loading = false,
  sweeping = false,
  swept = 0,
  latest = 0;
// Shows the timetable of a position: one at a time, and at last the one that was asked for last.
async function showPosition(position) {
  wantedBlock = Math.floor(position / model.token_cycles.block);
  if (loading) return;
  loading = true;
  try {
    while (shown !== wantedBlock) {
      const block = wantedBlock;
      if (!pages.has(block)) {
        const found = await request(`/timetable?position=${block * model.token_cycles.block}`);
        pages.set(block, (await found.text()).replace("</style>", `${INSIDE}</style>`));
      }
      const loaded = new Promise(done => $("timetable").addEventListener("load", done, { once: true }));
      $("timetable").srcdoc = pages.get(block);
      await loaded;
      shown = block;
      resized.disconnect();
      resized.observe($("timetable").contentDocument.querySelector("main"));
    }
  } finally {
    loading = false;
  }
}
// The frame is as high as the page in it, so that only one thing scrolls.
function fit() {
  const inside = $("timetable").contentDocument?.querySelector("main");
  if (inside) $("timetable").style.height = `${inside.offsetHeight}px`;
}
const resized = new ResizeObserver(fit);
function sweep(now) {
  const inside = $("timetable").contentWindow;
  if (sweeping && !calm.matches && inside?.timetable) {
    const { cycles } = inside.timetable.data;
    swept = (swept + (cycles * Math.min(now - latest, 100)) / 1000 / SWEEP_S) % cycles;
    inside.moveCursor(swept);
  }
  latest = now;
  requestAnimationFrame(sweep);
}
