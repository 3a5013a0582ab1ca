{{/* What the operator may do with what FIXSessions are about: in all namespaces, or in each that it watches. */}}
{{- define "fix-gateway.watchRules" -}}
- apiGroups: [fixgateway.io]
  resources: [fixsessions]
  verbs: [get, list, watch]
- apiGroups: [fixgateway.io]
  resources: [fixsessions/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* The operator's service account, in bindings. */}}
{{- define "fix-gateway.operatorSubject" -}}
- kind: ServiceAccount
  name: {{ include "fix-gateway.serviceAccountName" (dict "root" . "component" "operator" "values" .Values.operator) }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
