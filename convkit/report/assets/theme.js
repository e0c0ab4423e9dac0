"use strict";
// Before anything is painted: the theme that was chosen last time.
try {
  const theme = localStorage.getItem("convkit-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // A browser may keep no storage for a file; the system's theme is right then.
}
document.documentElement.classList.add("scripted");
