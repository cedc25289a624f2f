{{/*
The settings of sidegate, as YAML: those below `sidegate` in the values of a chart that depends on `sidegate` (or on
`sidegate-lib` with the alias `sidegate`), the values themselves inside the chart `sidegate`.
*/}}
{{- define "sidegate.settings" -}}
{{- if kindIs "map" .Values.sidegate -}}
{{ toYaml .Values.sidegate }}
{{- else if and (hasKey .Values "mode") (hasKey .Values "sidegate-lib") -}}
{{ toYaml .Values }}
{{- else if hasKey .Values "sidegate-lib" -}}
{{ toYaml (index .Values "sidegate-lib") }}
{{- else -}}
{{ fail "there are no values of sidegate: depend on the chart `sidegate`, or on `sidegate-lib` with `alias: sidegate`" }}
{{- end -}}
{{- end -}}

{{/* gateway | sidecar; who depends on the library alone has a sidecar. */}}
{{- define "sidegate.mode" -}}
{{- (include "sidegate.settings" . | fromYaml).mode | default "sidecar" -}}
{{- end -}}

{{/* The name of what belongs to this sidegate: the same from inside the chart and from the chart around it. */}}
{{- define "sidegate.fullname" -}}
{{- $settings := include "sidegate.settings" . | fromYaml -}}
{{- $name := $settings.nameOverride | default "sidegate" -}}
{{- if $settings.fullnameOverride -}}
{{- $settings.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ (include "sidegate.settings" . | fromYaml).nameOverride | default "sidegate" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sidegate.labels" -}}
{{- $settings := include "sidegate.settings" . | fromYaml -}}
{{ include "sidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ include "sidegate.version" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: sidegate-{{ include "sidegate.version" . }}
{{- with $settings.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* `.Chart` is the chart around the library, so its own version stands here. */}}
{{- define "sidegate.version" -}}0.1.0{{- end -}}

{{- define "sidegate.image" -}}
{{- $image := (include "sidegate.settings" . | fromYaml).image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default (include "sidegate.version" .)) -}}
{{- end -}}
{{- end -}}

{{/* `true` where the sidecar is an init container that restarts always; otherwise empty. */}}
{{- define "sidegate.native" -}}
{{- $native := (include "sidegate.settings" . | fromYaml).sidecar.native | toString -}}
{{- $known := semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version -}}
{{- if and (eq $native "true") (not $known) -}}
{{- fail (printf "sidecar.native is true, and Kubernetes %s has no native sidecars: they came with 1.29. Use auto or false." .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if or (eq $native "true") (and (eq $native "auto") $known) }}true{{ end -}}
{{- end -}}
