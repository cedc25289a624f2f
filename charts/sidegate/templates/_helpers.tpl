{{/* The pod template of the gateway; the Deployment and the StatefulSet share it. */}}
{{- define "sidegate.gatewayPod" -}}
metadata:
  labels:
    {{- include "sidegate.labels" . | nindent 4 }}
    {{- with .Values.gateway.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- $annotations := merge (include "sidegate.podAnnotations" . | fromYaml) .Values.gateway.podAnnotations }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "sidegate.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.gateway.terminationGracePeriodSeconds | default (include "sidegate.terminationGracePeriodSeconds" .) }}
  securityContext:
    {{- include "sidegate.podSecurityContext" . | nindent 4 }}
  {{- with .Values.gateway.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{ include "sidegate.containerBody" . | nindent 6 | trim }}
  volumes:
    {{- include "sidegate.volumeList" (list . "") | nindent 4 }}
  {{- if .Values.gateway.topologySpread }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "sidegate.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.gateway.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.gateway.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}

{{/*
StatefulSet | Deployment. A claim of its own for each pod, and never two pods on one claim, is what a StatefulSet gives;
a Deployment, even with Recreate, may run a second pod beside one whose node is lost.
*/}}
{{- define "sidegate.gatewayKind" -}}
{{- $persistence := .Values.persistence -}}
{{- if and $persistence.enabled (not $persistence.existingClaim) }}StatefulSet{{ else }}Deployment{{ end -}}
{{- end -}}

{{- define "sidegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "sidegate.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The port of the Service that stands for the first listener. */}}
{{- define "sidegate.servicePort" -}}
{{- $first := first (include "sidegate.ports" . | fromYaml).listeners -}}
{{- .Values.service.port | default (ternary 443 80 $first.tls) -}}
{{- end -}}

{{/* What several replicas would get wrong. */}}
{{- define "sidegate.checkReplicas" -}}
{{- $many := or .Values.gateway.autoscaling.enabled (gt (int .Values.gateway.replicas) 1) -}}
{{- $store := include "sidegate.store" . -}}
{{- if and $many (has $store (list "redb" "memory")) -}}
{{- fail (printf "the sessions of config.authority are in config.store.%s, which replicas do not share: use config.store.redis, or set gateway.replicas to 1 and gateway.autoscaling.enabled to false" $store) -}}
{{- end -}}
{{- if and $many .Values.persistence.existingClaim -}}
{{- fail "persistence.existingClaim is one claim for one pod: set gateway.replicas to 1, or leave it empty, and each replica gets a claim of its own" -}}
{{- end -}}
{{- end -}}

{{/* The spec of a claim for /var/lib/sidegate. */}}
{{- define "sidegate.claim" -}}
accessModes:
  {{- toYaml .Values.persistence.accessModes | nindent 2 }}
{{- with .Values.persistence.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests: { storage: {{ .Values.persistence.size }} }
{{- end -}}

{{/* The selector of the pods that run sidegate. */}}
{{- define "sidegate.protectedPods" -}}
matchLabels:
  {{- if eq .Values.mode "gateway" }}
  {{- include "sidegate.selectorLabels" . | nindent 2 }}
  {{- else if .Values.workload.selectorLabels }}
  {{- toYaml .Values.workload.selectorLabels | nindent 2 }}
  {{- else }}
  {{- include "sidegate.podLabels" . | nindent 2 }}
  {{- end }}
{{- end -}}
