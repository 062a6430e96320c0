// Training while the page stays alive: some updates in each frame, until enough is learned.

const FRAME_MILLISECONDS = 24; // of work in each frame

/**
 * Calls `update` until it returns true or the signal is aborted; between frames, `frame` is called.
 * pause: milliseconds from one update to the next, so that each can be seen. Returns how long it took, in milliseconds; null where it was ended.
 */
export async function trainInPage({ update, frame, signal, pause = 0 }) {
  const begun = performance.now();
  for (;;) {
    if (pause) await new Promise((done) => setTimeout(done, pause));
    await new Promise(requestAnimationFrame);
    if (signal.aborted) return null;
    const until = performance.now() + FRAME_MILLISECONDS;
    let done = false;
    do done = update();
    while (!done && !pause && performance.now() < until);
    frame();
    if (done) return performance.now() - begun;
  }
}
