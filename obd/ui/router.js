// Addresses and links, once per window and before Streamlit's own code.
// A page completes its address with what it shows, and Streamlit makes each parameter another entry in the browser's
// history; the back button seems dead at its first presses.  So what is only added before anybody has touched the page,
// or all at once, belongs to the same entry.  The parameters may also come before the page's name does, and would become
// those of the page before: they are left out when a link was followed (the name brings them along), else taken back.
// And Streamlit forgets the page that was asked for when a timer's request or a rerun of the old page comes after it and
// before it is answered; so a link is followed again until the address has its page or something else is clicked, and
// for two seconds after the back button only a click changes the address; a page that tries is sent back once more.
(() => {
  const push = history.pushState.bind(history);
  const replace = history.replaceState.bind(history);
  let wanted = null;
  let touched = false;
  let completed = -Infinity;
  let before = null;
  let back = null;
  const adds = (next) => [...new URLSearchParams(location.search)].every(([name, value]) =>
    next.searchParams.get(name) === value);
  const justBack = () => back && performance.now() - back.at < 2000;
  history.replaceState = (...entry) => { if (!justBack()) replace(...entry); };
  history.pushState = (state, title, address) => {
    const next = new URL(address, location.href);
    const justCompleted = performance.now() - completed < 1000;
    if (justBack()) {
      if (next.pathname !== back.path) setTimeout(askAgain, 300, back);
      return;
    }
    if (next.pathname === location.pathname) {
      if (wanted && wanted.path !== location.pathname) return;
      const sameEntry = !location.search || ((!touched || justCompleted) && adds(next));
      if (!justCompleted) before = sameEntry ? location.href : null;
      completed = performance.now();
      (sameEntry ? replace : push)(state, title, address);
    } else {
      if (justCompleted && before) replace(history.state, "", before);
      (justCompleted && !before ? replace : push)(state, title, address);
      completed = -Infinity;
      touched = false;
    }
  };

  const forget = () => { wanted = null; back = null; };
  const askAgain = (asked) => { if (asked === back) dispatchEvent(new PopStateEvent("popstate")); };
  addEventListener("popstate", (event) => {
    if (!event.isTrusted) return;
    touched = false;
    completed = -Infinity;
    wanted = null;
    back = { path: location.pathname, at: performance.now() };
  });
  const touch = () => { touched = true; back = null; };
  addEventListener("keydown", touch, true);
  addEventListener("pointerdown", touch, true);
  const links = "[data-testid=stTopNavLink], [data-testid=stSidebarNavLink], [data-testid=stPageLink-NavLink]";
  document.addEventListener("click", (event) => {
    if (!event.isTrusted) return;
    forget();
    const link = event.target.closest(links);
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const path = new URL(link.href).pathname;
    if (path === location.pathname) return;
    completed = -Infinity;
    wanted = { href: link.href, path, tries: 5, at: performance.now() };
  }, true);
  setInterval(() => {
    if (!wanted || location.pathname === wanted.path || !wanted.tries) wanted = null;
    if (!wanted || performance.now() - wanted.at < 1000) return;
    wanted.at = performance.now();
    wanted.tries -= 1;
    [...document.querySelectorAll("a[href]")].find((link) => link.href === wanted.href)?.click();
  }, 200);
})();
