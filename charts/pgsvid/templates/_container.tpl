{{- /* The parts that the publisher, the sidecar and the client share. */}}

{{- /* At the container: Kubernetes ignores most of these for a pod. */}}
{{- define "pgsvid.securityContext" -}}
runAsNonRoot: true
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- if eq .Values.mode "publisher" }}
runAsUser: {{ int .Values.runAsUser }}
runAsGroup: {{ int .Values.runAsUser }}
{{- end }}
{{- end }}

{{- /* Image, security and resources. */}}
{{- define "pgsvid.container" -}}
image: {{ include "pgsvid.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . | quote }}
{{- end }}
securityContext:
  {{- include "pgsvid.securityContext" . | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end }}

{{- define "pgsvid.ports" -}}
{{- with include "pgsvid.metricsPort" . -}}
ports:
  - name: metrics
    containerPort: {{ . }}
{{- end }}
{{- end }}

{{- /* The start-up probe differs: a client's application must not wait for five minutes. */}}
{{- define "pgsvid.livenessProbe" -}}
livenessProbe:
  exec:
    command: [/pgsvid, status, --live]
  periodSeconds: 30
  timeoutSeconds: 5
  # A daemon that hangs does not end when it is asked to.
  terminationGracePeriodSeconds: 5
{{- end }}

{{- define "pgsvid.readinessProbe" -}}
readinessProbe:
  exec:
    command: [/pgsvid, status]
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{- /* This takes until the agent has the registration entry. After five minutes the kubelet restarts pgsvid. */}}
{{- define "pgsvid.startupProbe" -}}
startupProbe:
  exec:
    command: [/pgsvid, status, --startup]
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
{{- end }}

{{- /* Not empty if SPIFFE's CSI driver brings the agent's socket. */}}
{{- define "pgsvid.csi" -}}
{{- if include "pgsvid.socketDirectory" . -}}{{ .Values.csi.driver }}{{- end -}}
{{- end }}

{{- define "pgsvid.ownMounts" -}}
- name: pgsvid
  mountPath: /etc/pgsvid
  readOnly: true
{{- if include "pgsvid.csi" . }}
- name: spiffe-workload-api
  mountPath: {{ include "pgsvid.socketDirectory" . | quote }}
  readOnly: true
{{- end }}
{{- if ne .Values.mode "publisher" }}
- name: svids
  mountPath: {{ include "pgsvid.directory" . | quote }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
# For connecting, not for writing.
- name: postgresql-socket
  mountPath: {{ include "pgsvid.postgresqlDirectory" . | quote }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pgsvid.volumes" -}}
- name: pgsvid
  configMap:
    name: {{ include "pgsvid.fullname" . | quote }}
    {{- if eq .Values.mode "client" }}
    items:
      - key: pgsvid.toml
        path: pgsvid.toml
    {{- end }}
{{- if include "pgsvid.csi" . }}
- name: spiffe-workload-api
  csi:
    driver: {{ include "pgsvid.csi" . | quote }}
    readOnly: true
{{- end }}
{{- if ne .Values.mode "publisher" }}
# In memory: a key that is never written to a disk. It exists as long as the pod.
- name: svids
  emptyDir:
    medium: Memory
    sizeLimit: 8Mi
{{- end }}
{{- if eq .Values.mode "sidecar" }}
- name: postgresql-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* A change of the configuration replaces the pods, because pgsvid reads it only at start. */}}
{{- define "pgsvid.podAnnotations" -}}
{{ printf "checksum/%s" (include "pgsvid.fullname" .) | quote }}: {{ include "pgsvid.toml" . | sha256sum | quote }}
{{- end }}
