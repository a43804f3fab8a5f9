{{- define "weir.pod" -}}
metadata:
  labels:
    {{- include "weir.labels" . | nindent 4 }}
    app.kubernetes.io/component: controller
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed weir.yaml takes a restart, changed policies do not.
    checksum/config: {{ include "weir.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "weir.account" . }}
  automountServiceAccountToken: {{ not (empty (include "weir.kubernetes" .)) }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: weir
      image: {{ include "weir.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run]
      env:
        - name: WEIR_CONFIG
          value: /etc/weir/weir.yaml
        - name: WEIR_LOG
          value: {{ .Values.log | quote }}
      ports:
        - name: xds
          containerPort: {{ .Values.ports.xds }}
        - name: api
          containerPort: {{ .Values.ports.api }}
        - name: metrics
          containerPort: {{ .Values.ports.metrics }}
        {{- if include "weir.relay" . }}
        - name: relay
          containerPort: {{ .Values.ports.relay }}
        {{- end }}
        {{- if include "weir.gateway" . }}
        - name: gateway
          containerPort: {{ .Values.ports.envoyGateway }}
        {{- end }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: api
        periodSeconds: 10
        failureThreshold: 3
      readinessProbe:
        httpGet:
          path: /readyz
          port: api
        periodSeconds: 5
        failureThreshold: 2
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/weir/weir.yaml
          subPath: weir.yaml
          readOnly: true
        {{- if .Values.policies }}
        - name: policies
          mountPath: /etc/weir/policies
          readOnly: true
        {{- end }}
        - name: data
          mountPath: /var/lib/weir
        {{- with .Values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "weir.fullname" . }}
    {{- if .Values.policies }}
    - name: policies
      configMap:
        name: {{ include "weir.fullname" . }}-policies
    {{- end }}
    - name: data
      {{- if .Values.data.persistent }}
      persistentVolumeClaim:
        claimName: {{ include "weir.fullname" . }}
      {{- else }}
      emptyDir:
        sizeLimit: {{ .Values.data.size }}
      {{- end }}
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
