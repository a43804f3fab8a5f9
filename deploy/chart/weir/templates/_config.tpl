{{- define "weir.address" -}}
{{- if contains ":" . }}[{{ . }}]{{ else }}{{ . }}{{ end }}
{{- end }}

{{- /* weir.yaml: what the values say, and what only the chart knows. */}}
{{- define "weir.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $at := include "weir.address" .Values.listen }}
{{- $api := printf "%s-api" (include "weir.fullname" .) }}
{{- $inside := printf "%s.%s" $api .Release.Namespace }}
{{- $hosts := list $api $inside (printf "%s.svc" $inside) (printf "%s.svc.cluster.local" $inside) }}
{{- $listen := dict
  "xds" (printf "%s:%v" $at .Values.ports.xds)
  "api" (printf "%s:%v" $at .Values.ports.api)
  "metrics" (printf "%s:%v" $at .Values.ports.metrics)
  "hosts" (concat $hosts (default (list) (default (dict) $config.listen).hosts)) }}
{{- $_ := set $config "listen" $listen }}
{{- $_ := set $config "data_dir" "/var/lib/weir" }}
{{- if .Values.policies }}
{{- $_ := set $config "policies" "/etc/weir/policies" }}
{{- end }}
{{- if not (include "weir.kubernetes" .) }}
{{- $_ := unset $config "kubernetes" }}
{{- else if include "weir.lease" . }}
{{- $_ := set $config.kubernetes "lease" (include "weir.fullname" .) }}
{{- end }}
{{- if $config.relay }}
{{- $_ := set $config.relay "listen" (printf "%s:%v" $at .Values.ports.relay) }}
{{- else }}
{{- $_ := unset $config "relay" }}
{{- end }}
{{- if include "weir.gateway" . }}
{{- $_ := set $config "envoy_gateway" (dict "listen" (printf "%s:%v" $at .Values.ports.envoyGateway)) }}
{{- else }}
{{- $_ := unset $config "envoy_gateway" }}
{{- end }}
{{- range $list := list "services" "sources" }}
{{- if not (index $config $list) }}
{{- $_ := unset $config $list }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}
