{{- /* Rights within a namespace that is watched. */}}
{{- define "weir.rights" -}}
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
{{- if include "weir.policies" . }}
- apiGroups: [weir.dev]
  resources: [adaptivetrafficpolicies]
  verbs: [get, list, watch]
- apiGroups: [weir.dev]
  resources: [adaptivetrafficpolicies/status]
  verbs: [patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
{{- range .Values.rbac.writers }}
- apiGroups: [{{ hasSuffix "routes" . | ternary "gateway.networking.k8s.io" "networking.istio.io" }}]
  resources: [{{ . }}]
  verbs: [get, list, watch, patch]
{{- end }}
{{- end }}

{{- define "weir.subject" -}}
- kind: ServiceAccount
  name: {{ include "weir.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
