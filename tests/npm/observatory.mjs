// MDN's HTTP Observatory, unmodified, on one page of a domain of ours.
//
// Reads one JSON object from standard input: {host, httpsPort, httpPort, path}. Prints a list of
// {name, result, pass, modifier} as JSON, one for each of its tests.
//
// Names under .localhost lead to this machine (RFC 6761 section 6.3), which Node leaves to the system's resolver.

import dns from "node:dns";
import {writeFileSync} from "node:fs";
import {text} from "node:stream/consumers";

const {lookup} = dns;
dns.lookup = (name, options, found) => {
  if (!name.endsWith(".localhost")) return lookup(name, options, found);
  const done = typeof options === "function" ? options : found;
  return options.all ? done(null, [{address: "127.0.0.1", family: 4}]) : done(null, "127.0.0.1", 4);
};

const observatory = "@mdn/mdn-http-observatory/src";
// The browsers' preload list, which the package fetches from outside when it is installed: we are on no list.
writeFileSync(new URL(import.meta.resolve(`${observatory}/../conf/hsts-preload.json`)), "{}");
const {retrieve} = await import(`${observatory}/retriever/retriever.js`);
const {ALL_TESTS} = await import(`${observatory}/constants.js`);
const {getScoreModifier} = await import(`${observatory}/grader/grader.js`);

const {host, ...options} = JSON.parse(await text(process.stdin));
const page = await retrieve(host, options);
if (!page.responses.auto) throw new Error(`${host} does not answer`);
const findings = ALL_TESTS.map((test) => test(page)).map((found) => ({
  name: found.constructor.name,
  result: found.result,
  pass: found.pass,
  modifier: getScoreModifier(found.result),
}));
process.stdout.write(JSON.stringify({status: page.responses.auto.status, findings}));
