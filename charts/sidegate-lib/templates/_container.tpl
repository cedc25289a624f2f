{{/*
The sidecar, an item of `initContainers`. On clusters without native sidecars it is empty, and the pod needs
`sidegate.plainContainer` among its `containers`.
*/}}
{{- define "sidegate.container" -}}
{{- if ne (include "sidegate.mode" .) "sidecar" -}}
{{- fail "this chart includes sidegate.container, and the chart sidegate would run a gateway: set sidegate.mode to sidecar" -}}
{{- end -}}
{{- if include "sidegate.native" . -}}
- {{ include "sidegate.containerBody" . | nindent 2 | trim }}
  restartPolicy: Always
{{- else -}}
{{- /* Remembered until the volumes: a pod without it would run the application unprotected. */ -}}
{{- $values := ternary .Values.sidegate .Values (kindIs "map" .Values.sidegate) -}}
{{- $_ := set $values "plainContainersOwed" (add1 ($values.plainContainersOwed | default 0)) -}}
{{- end -}}
{{- end -}}

{{/* The same as an item of `containers`, on clusters without native sidecars; elsewhere empty. */}}
{{- define "sidegate.plainContainer" -}}
{{- if not (include "sidegate.native" .) -}}
{{- $values := ternary .Values.sidegate .Values (kindIs "map" .Values.sidegate) -}}
{{- $_ := set $values "plainContainersOwed" (sub ($values.plainContainersOwed | default 0) 1) -}}
- {{ include "sidegate.containerBody" . | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{- define "sidegate.containerBody" -}}
{{- $settings := include "sidegate.settings" . | fromYaml -}}
{{- $ports := include "sidegate.ports" . | fromYaml -}}
name: sidegate
image: {{ include "sidegate.image" . }}
imagePullPolicy: {{ $settings.image.pullPolicy }}
args: [run, -c, /etc/sidegate/sidegate.yaml]
env:
  - name: POD_IP
    valueFrom:
      fieldRef: { fieldPath: status.podIP }
  {{- with $settings.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $settings.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  {{- range $ports.listeners }}
  - { name: {{ .name }}, containerPort: {{ .port }} }
  {{- end }}
  - { name: sidegate-health, containerPort: {{ $ports.health }} }
startupProbe:
  {{- include "sidegate.probe" (dict "path" "/startupz" "timing" $settings.probes.startup) | nindent 2 }}
readinessProbe:
  {{- include "sidegate.probe" (dict "path" "/readyz" "timing" $settings.probes.readiness) | nindent 2 }}
livenessProbe:
  {{- include "sidegate.probe" (dict "path" "/livez" "timing" $settings.probes.liveness) | nindent 2 }}
{{- with $settings.lifecycle }}
lifecycle:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "sidegate.securityContext" . | nindent 2 }}
volumeMounts:
  - { name: sidegate-config, mountPath: /etc/sidegate, readOnly: true }
  {{- if include "sidegate.hasData" . }}
  - { name: sidegate-data, mountPath: /var/lib/sidegate }
  {{- end }}
  {{- with $settings.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "sidegate.probe" -}}
httpGet: { path: {{ .path }}, port: sidegate-health }
{{ toYaml .timing }}
{{- end -}}

{{/* Of a container: all that the level `restricted` of Pod Security asks for, whatever the pod says. */}}
{{- define "sidegate.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}
