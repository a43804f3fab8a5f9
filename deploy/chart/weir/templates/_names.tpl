{{- define "weir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "weir.fullname" -}}
{{- $name := include "weir.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Of objects that belong to no namespace: two releases must not meet. */}}
{{- define "weir.clustername" -}}
{{- printf "%s-%s" .Release.Namespace (include "weir.fullname" .) }}
{{- end }}

{{- define "weir.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "weir.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "weir.selector" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The pods that run Weir, not the one that tests it. */}}
{{- define "weir.pods" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "weir.image" -}}
{{- $of := required "image.repository is not set: name the registry to which you pushed the image of deploy/image/Containerfile" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $of .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $of (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- /* Combinations that a schema cannot refuse. */}}
{{- define "weir.check" -}}
{{- $many := or (eq .Values.kind "DaemonSet") (gt (int .Values.replicas) 1) }}
{{- if and $many .Values.data.persistent }}
{{- fail "data.persistent is for one replica of a Deployment: several Weirs cannot share a folder" }}
{{- end }}
{{- if and (include "weir.lease" .) (not (include "weir.kubernetes" .)) }}
{{- fail "replicas is more than 1 without config.kubernetes: nobody would say which one decides" }}
{{- end }}
{{- end }}

{{- /* Whether the API server is asked: not empty if so. */}}
{{- define "weir.kubernetes" -}}
{{- if kindIs "map" .Values.config.kubernetes }}yes{{ end }}
{{- end }}

{{- /* Whether policies come from the API server: not empty if so. */}}
{{- define "weir.policies" -}}
{{- if include "weir.kubernetes" . }}
{{- if ne (toString .Values.config.kubernetes.policies) "false" }}yes{{ end }}
{{- end }}
{{- end }}

{{- /* Whether a Lease says which one decides: not empty if so. */}}
{{- define "weir.lease" -}}
{{- if and (eq .Values.kind "Deployment") (gt (int .Values.replicas) 1) }}yes{{ end }}
{{- end }}

{{- define "weir.relay" -}}
{{- if .Values.config.relay }}yes{{ end }}
{{- end }}

{{- define "weir.gateway" -}}
{{- if kindIs "map" .Values.config.envoy_gateway }}yes{{ end }}
{{- end }}
