{{/*
A value as a CEL expression. CEL knows no maps with values of several types, so a structure is written as an object of
the type that stands at its place in the resource.
*/}}
{{- define "sidegate.cel" -}}
{{- $type := .type -}}
{{- if kindIs "map" .value -}}
{{- $isMap := has (splitList "." $type | last) (list "limits" "requests" "matchLabels" "labels" "annotations" "volumeAttributes") -}}
{{- range $key, $_ := .value }}
{{- if not (regexMatch "^[A-Za-z_][A-Za-z0-9_]*$" $key) }}{{ $isMap = true }}{{ end }}
{{- end -}}
{{- if $isMap -}}
{ {{- range $index, $key := keys .value | sortAlpha }}{{ if $index }}, {{ end }}{{ $key | toJson }}: {{ get $.value $key | toString | toJson }}{{ end -}} }
{{- else -}}
{{ $type }}{
{{- range $index, $key := keys .value | sortAlpha }}
{{- if $index }},{{ end }}
  {{ $key }}: {{ include "sidegate.cel" (dict "type" (printf "%s.%s" $type $key) "value" (get $.value $key)) | nindent 2 | trim }}
{{- end }}
}
{{- end -}}
{{- else if kindIs "slice" .value -}}
[
{{- range $index, $item := .value }}
{{- if $index }},{{ end }}
  {{ include "sidegate.cel" (dict "type" $type "value" $item) | nindent 2 | trim }}
{{- end }}
]
{{- else if or (kindIs "float64" .value) (kindIs "int" .value) (kindIs "int64" .value) -}}
{{ int64 .value }}
{{- else -}}
{{ toJson .value }}
{{- end -}}
{{- end -}}
