"use strict";
// Takes the page anew every five seconds, and keeps what its reader did to it:
// where it is scrolled to, what is open, what has the focus, what is selected.
{
  const take = async () => {
    const answer = await fetch(location.href, {cache: "no-store", signal: AbortSignal.timeout(4000)});
    if (!answer.ok) throw new Error(answer.status);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };
  const show = (fresh) => {
    for (const d of fresh.querySelectorAll("details")) d.open = document.getElementById(d.id)?.open ?? false;
    const focus = document.activeElement?.closest("details")?.id;
    const y = scrollY;
    for (const part of ["main", "#status"]) document.querySelector(part).replaceWith(fresh.querySelector(part));
    if (focus) document.getElementById(focus)?.querySelector("summary").focus({preventScroll: true});
    scrollTo(scrollX, y);
  };
  const busy = () => document.hidden || !getSelection().isCollapsed;
  const turn = async () => {
    const every = document.getElementById("every");
    if (!busy()) {
      try {
        const fresh = await take();
        if (!busy()) show(fresh);
        every.textContent = "every 5 s";
        every.classList.remove("lost");
      } catch {
        every.textContent = "no answer; what is here is old";
        every.classList.add("lost");
      }
    }
    setTimeout(turn, 5000);
  };
  setTimeout(turn, 5000);
}
