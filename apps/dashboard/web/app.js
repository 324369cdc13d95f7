// Starts the parts of the page. Each module owns one section.

import { startKnobs } from "./knobs.js";
import { startPage } from "./page.js";
import { startStats } from "./stats.js";
import { startTimeline } from "./timeline.js";

startTimeline();
startStats();
startKnobs();
startPage();
