{{- /*
For other charts: pgsvid in a pod of theirs. Each takes this chart's own context, `.Subcharts.pgsvid` (README.md):

  pgsvid.podAnnotations   of the pod template
  pgsvid.initContainers   first in spec.initContainers
  pgsvid.volumeMounts     of the container that reads the files
  pgsvid.env              of the application's container (mode client)
  pgsvid.volumes          in spec.volumes
*/}}

{{- define "pgsvid.initContainers" -}}
{{- if eq .Values.mode "sidecar" -}}
# An init container that keeps running (a native sidecar): PostgreSQL starts after its start-up probe has passed, when the files
# exist, and stops before it. No runAsUser: it is set for the pod, and so for PostgreSQL, which refuses a key of another user.
- name: pgsvid
  restartPolicy: Always
  args: [run]
  {{- include "pgsvid.container" . | nindent 2 }}
  {{- with include "pgsvid.ports" . }}{{ . | nindent 2 }}{{ end }}
  {{- include "pgsvid.startupProbe" . | nindent 2 }}
  {{- if .Values.readinessProbe.enabled }}
  {{- include "pgsvid.readinessProbe" . | nindent 2 }}
  {{- end }}
  {{- include "pgsvid.livenessProbe" . | nindent 2 }}
  volumeMounts:
    {{- include "pgsvid.ownMounts" . | nindent 4 }}
{{- else if eq .Values.mode "client" -}}
# Publishes the first set. Without one its log names what it waits for, and it gives up in time.
- name: pgsvid-fetch
  args: [fetch, --timeout, 2m]
  {{- include "pgsvid.container" . | nindent 2 }}
  volumeMounts:
    {{- include "pgsvid.ownMounts" . | nindent 4 }}
# Publishes all further sets, as long as the application runs. No readiness probe: readiness is the application's own.
- name: pgsvid
  restartPolicy: Always
  args: [run]
  {{- include "pgsvid.container" . | nindent 2 }}
  {{- with include "pgsvid.ports" . }}{{ . | nindent 2 }}{{ end }}
  startupProbe:
    exec:
      command: [/pgsvid, status, --startup]
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  {{- include "pgsvid.livenessProbe" . | nindent 2 }}
  volumeMounts:
    {{- include "pgsvid.ownMounts" . | nindent 4 }}
{{- end -}}
{{- end }}

{{- define "pgsvid.volumeMounts" -}}
- name: svids
  mountPath: {{ include "pgsvid.directory" . | quote }}
  readOnly: true
{{- if eq .Values.mode "sidecar" }}
- name: postgresql-socket
  mountPath: {{ include "pgsvid.postgresqlDirectory" . | quote }}
{{- end }}
{{- end }}

{{- define "pgsvid.env" -}}
- name: PGSERVICEFILE
  value: {{ printf "%s/%s" (include "pgsvid.directory" .) (include "pgsvid.serviceFile" .) | quote }}
- name: PGSERVICE
  valueFrom:
    configMapKeyRef:
      name: {{ include "pgsvid.fullname" . | quote }}
      key: PGSERVICE
{{- end }}
