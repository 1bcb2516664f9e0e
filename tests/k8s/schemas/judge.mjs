// Kubernetes objects as a JSON list on stdin; on stdout, for each, what its schema has against it, or "".
import { readFileSync } from "node:fs";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const kinds = { PodMonitor, PrometheusRule, ScaledObject, ServiceMonitor };

const verdicts = JSON.parse(readFileSync(0, "utf8")).map((object) => {
  try {
    new kinds[object.kind](object).validate();
    return "";
  } catch (error) {
    return String(error);
  }
});
process.stdout.write(JSON.stringify(verdicts));
