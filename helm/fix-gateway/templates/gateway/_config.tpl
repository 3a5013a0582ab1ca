{{/* gateway.yaml: what `fixgw gateway --config` reads. */}}
{{- define "fix-gateway.gatewayConfig" -}}
{{- $gateway := .Values.gateway -}}
{{- $fullname := include "fix-gateway.fullname" . -}}
listeners:
{{- range $gateway.listeners }}
- name: {{ .name | quote }}
  port: {{ int64 .port }}
  {{- $tls := .tls | default dict }}
  {{- if $tls.enabled }}
  tls:
    directory: /etc/fixgw/tls/{{ .name }}
    minVersion: {{ default "1.2" $tls.minVersion | quote }}
    clientCa: {{ default "none" $tls.clientCa }}
    {{- with $tls.cipherSuites }}
    cipherSuites: {{ toJson . }}
    {{- end }}
  {{- end }}
  {{- with .proxyProtocol }}
  proxyProtocol:
    headers: {{ .headers }}
    trusted: {{ toJson .trusted }}
  {{- end }}
{{- end }}
controlPlane: { host: {{ $fullname }}-operator, port: 18000 }
{{- if .Values.defaultRejectEngine.enabled }}
rejectEngine: { host: {{ $fullname }}-reject-engine, port: 18001 }
{{- end }}
address: {{ .Values.listenAddress | quote }}
holdTimeout: {{ $gateway.holdTimeout }}
maxHeldConnections: {{ int64 $gateway.maxHeldConnections }}
maxHeldConnectionsPerPod: {{ int64 $gateway.maxHeldConnectionsPerPod }}
connectTimeout: {{ $gateway.connectTimeout }}
tcpTimeout: {{ $gateway.tcpTimeout }}
{{- with $gateway.idleTimeout }}
idleTimeout: {{ . }}
{{- end }}
adminPort: {{ int64 $gateway.adminPort }}
probePort: {{ int64 $gateway.probePort }}
metricsPort: {{ int64 $gateway.metricsPort }}
{{- with $gateway.workers }}
workers: {{ int64 . }}
{{- end }}
{{- with $gateway.connectionsMax }}
connectionsMax: {{ int64 . }}
{{- end }}
runDirectory: /run/fixgw
{{- end -}}
