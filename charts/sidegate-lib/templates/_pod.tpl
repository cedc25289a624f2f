{{/* The volumes of the sidecar, items of `volumes`. */}}
{{- define "sidegate.volumes" -}}
{{- $values := ternary .Values.sidegate .Values (kindIs "map" .Values.sidegate) -}}
{{- if gt (int ($values.plainContainersOwed | default 0)) 0 -}}
{{- fail (printf "Kubernetes %s has no native sidecars, so this pod would run without sidegate: write {{- include \"sidegate.plainContainer\" . | nindent 8 }} under `containers`, above `volumes`" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- include "sidegate.volumeList" (list . (printf "%s-data" (include "sidegate.fullname" .))) -}}
{{- end -}}

{{/* The same for (context, name of the claim); an empty name: the claim is a template of the workload. */}}
{{- define "sidegate.volumeList" -}}
{{- $root := index . 0 -}}
{{- $claim := index . 1 -}}
{{- $persistence := (include "sidegate.settings" $root | fromYaml).persistence -}}
{{ include "sidegate.configVolume" $root }}
{{- if include "sidegate.hasData" $root }}
{{- if not $persistence.enabled }}
- name: sidegate-data
  emptyDir:
    {{- toYaml $persistence.emptyDir | nindent 4 }}
{{- else if or $persistence.existingClaim $claim }}
- name: sidegate-data
  persistentVolumeClaim: { claimName: {{ $persistence.existingClaim | default $claim }} }
{{- end }}
{{- end }}
{{- with (include "sidegate.settings" $root | fromYaml).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The configuration and all that it names, in one volume: a change of several files at once is seen at once. Mounted
whole, since the kubelet never renews what is mounted by subPath.
*/}}
{{- define "sidegate.configVolume" -}}
{{- $settings := include "sidegate.settings" . | fromYaml -}}
- name: sidegate-config
  projected:
    defaultMode: {{ $settings.fileMode | default (ternary "0440" "0444" (eq (include "sidegate.mode" .) "gateway")) }}
    sources:
      - configMap: { name: {{ include "sidegate.configMapName" . }} }
      {{- with $settings.secrets }}
      - secret:
          name: {{ include "sidegate.fullname" $ }}
          items:
            {{- range $key, $_ := . }}
            - { key: {{ $key }}, path: secrets/{{ $key }} }
            {{- end }}
      {{- end }}
      {{- range $settings.existingSecrets }}
      - secret:
          name: {{ .name }}
          items:
            {{- range $path, $key := .files }}
            - { key: {{ $key }}, path: {{ $path }} }
            {{- end }}
      {{- end }}
      {{- with include "sidegate.tlsSecret" . }}
      - secret:
          name: {{ . }}
          items:
            - { key: tls.crt, path: tls/tls.crt }
            - { key: tls.key, path: tls/tls.key }
      {{- end }}
      {{- range $settings.tokens }}
      - serviceAccountToken:
          audience: {{ .audience | quote }}
          expirationSeconds: {{ .expirationSeconds | default 3600 | int64 }}
          path: {{ .file }}
      {{- end }}
{{- end -}}

{{/* `true` where there is something to keep in /var/lib/sidegate. */}}
{{- define "sidegate.hasData" -}}
{{- if or (eq (include "sidegate.store" .) "redb") (include "sidegate.settings" . | fromYaml).persistence.enabled }}true{{ end -}}
{{- end -}}

{{/* Labels of the pods that have the sidecar: by them PodMonitor and NetworkPolicy find the pods. */}}
{{- define "sidegate.podLabels" -}}
sidegate.io/sidecar: {{ include "sidegate.fullname" . }}
{{- end -}}

{{/* With `rollOnChange`: a change of the configuration replaces the pods. Otherwise empty. */}}
{{- define "sidegate.podAnnotations" -}}
{{- $settings := include "sidegate.settings" . | fromYaml -}}
{{- if $settings.rollOnChange -}}
sidegate.io/checksum: {{ list (include "sidegate.config" .) $settings.files $settings.secrets | toJson | sha256sum }}
{{- end -}}
{{- end -}}

{{/* Of a pod that is sidegate's own, or whose other containers can live with it. */}}
{{- define "sidegate.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}
