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
{{- $writes := .Values.config.kubernetes.writes }}
{{- if and $writes (include "weir.policies" .) }}
- apiGroups: [weir.dev]
  resources: [adaptivetrafficpolicies]
  verbs: [patch]
{{- end }}
{{- if has "routes" $writes }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, tcproutes]
  verbs: [list, patch]
- apiGroups: [networking.istio.io]
  resources: [virtualservices]
  verbs: [list, patch]
{{- end }}
{{- if has "destination_rules" $writes }}
- apiGroups: [networking.istio.io]
  resources: [destinationrules]
  verbs: [list, patch]
{{- end }}
{{- if has "linkerd" $writes }}
- apiGroups: [policy.linkerd.io]
  resources: [httproutes]
  verbs: [list, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [patch]
- apiGroups: [linkerd.io]
  resources: [serviceprofiles]
  verbs: [list]
{{- end }}
{{- if or .Values.config.relay (has "routes" $writes) (has "destination_rules" $writes) (has "linkerd" $writes) }}
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [list]
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [list]
{{- end }}
{{- if has "draining" $writes }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
{{- end }}
{{- end }}

{{- define "weir.subject" -}}
- kind: ServiceAccount
  name: {{ include "weir.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
