// Reads a list of resources as JSON from standard input, and writes what their own schemas say against each: "" is good.
import * as certManager from "@kubernetes-models/cert-manager/cert-manager.io/v1";
import * as gateway from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";
import * as monitoring from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";

const KINDS = {
  "cert-manager.io/v1": certManager,
  "gateway.networking.k8s.io/v1": gateway,
  "monitoring.coreos.com/v1": monitoring,
};

let input = "";
for await (const chunk of process.stdin) input += chunk;
const verdicts = JSON.parse(input).map((resource) => {
  const Kind = KINDS[resource.apiVersion]?.[resource.kind];
  if (!Kind) return `no schema of ${resource.apiVersion} ${resource.kind}`;
  try {
    new Kind(resource).validate();
    return "";
  } catch (error) {
    return String(error.message);
  }
});
console.log(JSON.stringify(verdicts));
