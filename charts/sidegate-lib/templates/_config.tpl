{{/*
The configuration of sidegate: what the values say under `config`, and what a pod needs where they say nothing.
*/}}
{{- define "sidegate.config" -}}
{{- $settings := include "sidegate.settings" . | fromYaml -}}
{{- $config := deepCopy ($settings.config | default dict) -}}
{{- $gateway := eq (include "sidegate.mode" .) "gateway" -}}
{{- if not $config.listeners -}}
{{- $_ := set $config "listeners" (list (dict "name" "public" "address" "0.0.0.0:8080")) -}}
{{- end -}}
{{- if include "sidegate.tlsSecret" . -}}
{{- $first := first $config.listeners -}}
{{- if not $first.tls -}}
{{- $_ := set $first "tls" (dict "certificate_file" "tls/tls.crt" "key_file" "tls/tls.key") -}}
{{- end -}}
{{- end -}}
{{- if not $config.health -}}
{{- $_ := set $config "health" (dict "address" "0.0.0.0:9901") -}}
{{- end -}}
{{- if not (hasKey $config "admin") -}}
{{- $_ := set $config "admin" (dict "address" "127.0.0.1:9902") -}}
{{- end -}}
{{- if and (not $config.upstreams) $settings.upstream.url -}}
{{- $_ := set $config "upstreams" (list (dict "name" $settings.upstream.name "url" $settings.upstream.url)) -}}
{{- end -}}
{{- $drain := $config.drain | default dict -}}
{{- if $gateway -}}
{{- /* Whoever spreads the requests learns late that a pod is going. */ -}}
{{- $drain = merge $drain (dict "delay" "5s" "timeout" "30s") -}}
{{- else if include "sidegate.native" . -}}
{{- /* The application has ended by then, and this pod has left every Service. */ -}}
{{- $drain = merge $drain (dict "delay" "0s" "timeout" "5s") -}}
{{- else -}}
{{- /* The application is told to end at the same moment: outlast it. */ -}}
{{- $drain = merge $drain (dict "delay" "5s" "timeout" "20s") -}}
{{- end -}}
{{- $_ := set $config "drain" $drain -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The ConfigMap with the configuration. */}}
{{- define "sidegate.configMapName" -}}
{{- (include "sidegate.settings" . | fromYaml).existingConfigMap | default (include "sidegate.fullname" .) -}}
{{- end -}}

{{/* The Secret with the certificate of the first listener; empty: none. */}}
{{- define "sidegate.tlsSecret" -}}
{{- $tls := (include "sidegate.settings" . | fromYaml).tls | default dict -}}
{{- if $tls.existingSecret -}}
{{- $tls.existingSecret -}}
{{- else if ($tls.certificate | default dict).enabled -}}
{{- printf "%s-tls" (include "sidegate.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/*
The ports that other machines reach, as YAML: `listeners` in the order of the configuration, the first one named
`sidegate`, and `health`. What is bound to loopback or to a socket is left out.
*/}}
{{- define "sidegate.ports" -}}
{{- $config := include "sidegate.config" . | fromYaml -}}
{{- $listeners := list -}}
{{- range $index, $listener := $config.listeners -}}
{{- $address := $listener.address | default "" -}}
{{- if not (regexMatch "^(unix:|127\\.|localhost:|\\[::1\\]:)" $address) -}}
{{- $name := "sidegate" -}}
{{- if $listeners -}}
{{- $name = printf "sg-%s" (regexReplaceAll "[^a-z0-9]+" ($listener.name | default "main" | lower) "-") | trunc 15 | trimSuffix "-" -}}
{{- end -}}
{{- $port := include "sidegate.port" (dict "address" $address "key" (printf "config.listeners[%d].address" $index)) -}}
{{- $listeners = append $listeners (dict "name" $name "port" ($port | int) "tls" (not (empty $listener.tls))) -}}
{{- end -}}
{{- end -}}
{{- if not $listeners -}}
{{- fail "no listener can be reached from outside the pod: give one of config.listeners an address like 0.0.0.0:8080" -}}
{{- end -}}
{{- $health := $config.health.address | default "" -}}
{{- if regexMatch "^(unix:|127\\.|localhost:|\\[::1\\]:)" $health -}}
{{- fail (printf "config.health.address is %s, where the probes of the kubelet cannot reach it: write 0.0.0.0:9901 or [::]:9901" $health) -}}
{{- end -}}
{{- toYaml (dict "listeners" $listeners "health" (include "sidegate.port" (dict "address" $health "key" "config.health.address") | int)) -}}
{{- end -}}

{{/* The port of an address; `key` says whose. */}}
{{- define "sidegate.port" -}}
{{- $port := regexFind ":[1-9][0-9]{0,4}$" .address | trimPrefix ":" -}}
{{- if not $port -}}
{{- fail (printf "%s is %q: the chart needs the number of the port, as in 0.0.0.0:8080" .key .address) -}}
{{- end -}}
{{- $port -}}
{{- end -}}

{{/* Whole seconds of a duration like 250ms, 5s, 10m, 1h; `key` says whose. */}}
{{- define "sidegate.seconds" -}}
{{- $unit := regexFind "(ms|s|m|h|d)$" .duration -}}
{{- $number := trimSuffix $unit .duration -}}
{{- if or (not $unit) (not (regexMatch "^[0-9]+$" $number)) -}}
{{- fail (printf "%s is %q: the chart reads whole numbers with a unit, as in 30s" .key .duration) -}}
{{- end -}}
{{- if eq $unit "ms" -}}
{{- div (add (int64 $number) 999) 1000 -}}
{{- else -}}
{{- mul (int64 $number) (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) -}}
{{- end -}}
{{- end -}}

{{/* What a pod must be given to end: the drain of the configuration, and a little more. */}}
{{- define "sidegate.terminationGracePeriodSeconds" -}}
{{- $drain := (include "sidegate.config" . | fromYaml).drain -}}
{{- $delay := include "sidegate.seconds" (dict "duration" $drain.delay "key" "config.drain.delay") | int64 -}}
{{- $timeout := include "sidegate.seconds" (dict "duration" $drain.timeout "key" "config.drain.timeout") | int64 -}}
{{- add $delay $timeout 5 -}}
{{- end -}}

{{/* The kind of store where sessions are kept: memory | redb | redis; empty: there are none. */}}
{{- define "sidegate.store" -}}
{{- $config := include "sidegate.config" . | fromYaml -}}
{{- if $config.authority -}}
{{- $store := $config.store | default dict -}}
{{- if hasKey $store "redis" }}redis{{ else if hasKey $store "memory" }}memory{{ else }}redb{{ end -}}
{{- end -}}
{{- end -}}
