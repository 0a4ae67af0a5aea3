{{- /* Not empty if the Secrets are in another cluster, where this chart cannot grant rights. */}}
{{- define "pgsvid.remote" -}}
{{- default "" (default (dict) .Values.config.kubernetes).server -}}
{{- end }}

{{- /* A Role and its binding to the publisher. Takes context, name, namespace and rules. */}}
{{- define "pgsvid.role" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "pgsvid.labels" .context | nindent 4 }}
rules:
  {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "pgsvid.labels" .context | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ include "pgsvid.serviceAccountName" .context | quote }}
    namespace: {{ .context.Release.Namespace | quote }}
{{- end }}

{{- /*
The rights on the Secrets of one namespace. Takes names, and those of them that pgsvid may create. A request that applies an object
names it even when it creates the object, so create is limited to names, too.
*/}}
{{- define "pgsvid.rulesOfSecrets" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- toYaml .names | nindent 4 }}
  verbs: [get, patch, watch]
{{- with .created }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    {{- toYaml . | nindent 4 }}
  verbs: [create]
{{- end }}
{{- end }}

{{- define "pgsvid.rulesOfLease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ . | quote }}]
  verbs: [get, update]
# The request that creates it does not name it.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end }}
