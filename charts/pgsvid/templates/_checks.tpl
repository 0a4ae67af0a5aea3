{{- /*
What is wrong with the values: one line for each problem, with a code that stays the same, and the remedy. Empty if all is well.
*/}}
{{- define "pgsvid.problems" -}}
{{- $config := .Values.config -}}
{{- $hasAgent := ne (include "pgsvid.endpoint" .) "" -}}
{{- if and $hasAgent $config.certificates }}
[pgsvid/two-sources] config.workload_api and config.certificates are both set, and pgsvid takes its certificate from exactly one: remove one of them
{{- else if not (or $hasAgent $config.certificates) }}
[pgsvid/no-source] the configuration names no source of certificates: set config.workload_api.endpoint, with SPIFFE's CSI driver to unix:///spiffe-workload-api/spire-agent.sock, or config.certificates
{{- end }}
{{- if not (default (dict) $config.health).listen }}
[pgsvid/no-health] config.health.listen is not set, and the probes need it: set it to 0.0.0.0:9809
{{- end }}
{{- include "pgsvid.problemsOfNames" . }}
{{- if eq .Values.mode "publisher" }}
{{- include "pgsvid.problemsOfPublisher" . }}
{{- else }}
{{- include "pgsvid.problemsOfPods" . }}
{{- end }}
{{- include "pgsvid.problemsOfFiles" . }}
{{- include "pgsvid.problemsOfMonitoring" . }}
{{- include "pgsvid.problemsOfIdentity" . }}
{{- end }}

{{- /* Names as Kubernetes has them: of most objects, and of namespaces. Without these checks a name could be more than one line of YAML. */}}
{{- define "pgsvid.problemsOfNames" -}}
{{- $names := dict "fullnameOverride or nameOverride" (include "pgsvid.fullname" .) -}}
{{- $namespaces := dict -}}
{{- if eq .Values.mode "publisher" -}}
{{- with .Values.serviceAccount.name }}{{ $_ := set $names "serviceAccount.name" . }}{{ end -}}
{{- with (default (dict) .Values.config.lease).name }}{{ $_ := set $names "config.lease.name" . }}{{ end -}}
{{- $_ := set $namespaces "config.lease.namespace or config.kubernetes.namespace" (include "pgsvid.leaseNamespace" .) -}}
{{- end -}}
{{- range $index, $secret := .Values.config.secrets -}}
{{- if $secret.name }}{{ $_ := set $names (printf "config.secrets[%d].name" $index) (toString $secret.name) }}{{ end -}}
{{- if $secret.namespace }}{{ $_ := set $namespaces (printf "config.secrets[%d].namespace" $index) (toString $secret.namespace) }}{{ end -}}
{{- end -}}
{{- range $value, $name := $names }}
{{- if or (gt (len $name) 253) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" $name)) }}
[pgsvid/invalid-name] {{ $value }} is {{ toJson $name }}, which no object can have: write lower-case letters, digits, - and .
{{- end }}
{{- end }}
{{- range $value, $name := $namespaces }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name) }}
[pgsvid/invalid-name] {{ $value }} is {{ toJson $name }}, which no namespace can have: write at most 63 lower-case letters, digits and -
{{- end }}
{{- end }}
{{- end }}

{{- define "pgsvid.problemsOfPublisher" -}}
{{- $config := .Values.config -}}
{{- if not $config.secrets }}
[pgsvid/no-secrets] config.secrets is empty, so the publisher has nothing to write: add an entry with namespace, name and fields; for a database or an application in a pod of another chart set mode to sidecar or client
{{- end }}
{{- include "pgsvid.problemsOfSecrets" . }}
{{- range $table := list "postgres" "pgbouncer" "patroni" "roles" "hooks" }}
{{- if hasKey $config $table }}
[pgsvid/server-in-publisher] config.{{ $table }} is about another program in pgsvid's own pod, and the publisher's pod has none: remove it, or set mode to sidecar
{{- end }}
{{- end }}
{{- $duration := default "10s" (default (dict) $config.lease).duration }}
{{- if not (regexMatch "^(([3-9]|[1-9][0-9]|[12][0-9][0-9]|300)s|[1-5]m)$" (toString $duration)) }}
[pgsvid/lease-duration] config.lease.duration is {{ $duration }}: set it to a number of seconds from 3s to 300s
{{- end }}
{{- $server := default (dict) $config.kubernetes -}}
{{- $given := 0 -}}
{{- range $key := list "server" "ca_file" "token_file" }}{{ if index $server $key }}{{ $given = add1 $given }}{{ end }}{{ end }}
{{- if and (ne (int $given) 0) (ne (int $given) 3) }}
[pgsvid/half-server] of config.kubernetes.server, ca_file and token_file only some are set: set all three, or none for the API server of this cluster
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
[pgsvid/no-service-account] serviceAccount.create is false and serviceAccount.name is empty: name the ServiceAccount that exists
{{- end }}
{{- if .Values.podSelector }}
[pgsvid/pod-selector-of-publisher] podSelector is set, and the publisher's pods have labels of the chart: remove it, or set mode to sidecar or client
{{- end }}
{{- end }}

{{- define "pgsvid.problemsOfSecrets" -}}
{{- $seen := dict -}}
{{- range $index, $secret := .Values.config.secrets }}
{{- $entry := printf "config.secrets[%d]" $index -}}
{{- if not $secret.namespace }}
[pgsvid/secret-without-namespace] {{ $entry }} has no namespace: set it to the namespace of the program that reads the Secret
{{- end }}
{{- if not $secret.name }}
[pgsvid/secret-without-name] {{ $entry }} has no name: set it to the name of the Secret
{{- end }}
{{- $fields := default (dict) $secret.fields }}
{{- if not $fields }}
[pgsvid/secret-without-fields] {{ $entry }} has no fields: map each key of the Secret to a content, such as "tls.crt" to chain
{{- end }}
{{- $id := printf "%s/%s" (toString $secret.namespace) (toString $secret.name) }}
{{- if and $secret.namespace $secret.name }}
{{- if hasKey $seen $id }}
[pgsvid/same-secret] {{ $entry }} names the Secret {{ $id }}, as an entry before it does: put the fields of one Secret into one entry
{{- end }}
{{- $_ := set $seen $id true }}
{{- end }}
{{- range $key, $field := $fields }}
{{- if not (regexMatch "^[-._a-zA-Z0-9]+$" $key) }}
[pgsvid/invalid-field] {{ $entry }} has the field {{ toJson $key }}, which no Secret can have: write letters, digits, and any of - _ .
{{- end }}
{{- $content := $field }}{{ if kindIs "map" $field }}{{ $content = $field.content }}{{ end }}
{{- $known := list "chain" "key" "bundle" "combined" "der-key" "der-certificate" "pkcs12" "truststore" }}
{{- if not (has $content $known) }}
[pgsvid/unknown-content] {{ $entry }} has the field {{ toJson $key }} with the content {{ toJson $content }}: write one of {{ join ", " $known }}
{{- end }}
{{- end }}
{{- $certificate := hasKey $fields "tls.crt" }}
{{- $key := hasKey $fields "tls.key" }}
{{- if ne $certificate $key }}
[pgsvid/half-pair] {{ $entry }} writes one of tls.crt and tls.key and leaves the other to another owner, and a certificate works only with its own key: list both, or neither
{{- else if and $fields (not $certificate) (eq (toString $secret.type) "kubernetes.io/tls") }}
[pgsvid/tls-without-pair] {{ $entry }} has the type kubernetes.io/tls, and Kubernetes requires tls.crt and tls.key in such a Secret: list both, or remove the type
{{- end }}
{{- if and $secret.owner (not $secret.create) }}
[pgsvid/owner-without-create] {{ $entry }} has an owner, and create is not true: Kubernetes would delete somebody else's Secret when the owner is deleted: set create to true, or remove the owner
{{- end }}
{{- end }}
{{- end }}

{{- define "pgsvid.problemsOfPods" -}}
{{- $values := .Values -}}
{{- if $values.config.secrets }}
[pgsvid/only-for-publisher] config.secrets is set in mode {{ $values.mode }}, and the pods of another chart have no rights to write Secrets: install a publisher in a release of its own
{{- end }}
{{- if ne (int $values.replicas) 1 }}
[pgsvid/only-for-publisher] replicas is set in mode {{ $values.mode }}, which runs no pods of its own: set the replicas of the workload instead
{{- end }}
{{- range $name := list "networkPolicy" "serviceMonitor" }}
{{- if (index $values $name).enabled }}
[pgsvid/only-for-publisher] {{ $name }}.enabled is true in mode {{ $values.mode }}: the chart with the pods has to bring its own
{{- end }}
{{- end }}
{{- if not (include "pgsvid.directory" .) }}
[pgsvid/no-directory] config.files.directory is not set, and mode {{ $values.mode }} publishes files: set it to /svids
{{- end }}
{{- if and (eq $values.mode "sidecar") (not (hasKey $values.config "postgres")) }}
[pgsvid/no-postgres] config.postgres is missing, and without it the sidecar reloads and proves nothing: set it, for the default values to {}
{{- end }}
{{- if and (eq $values.mode "client") (not (include "pgsvid.service" .)) }}
[pgsvid/no-service] config.files.service.name is not set, and the application finds its files by it: set it, with the options of the connection
{{- end }}
{{- if and (not $values.podSelector) (or $values.podMonitor.enabled $values.clusterSPIFFEID.enabled) }}
[pgsvid/no-pod-selector] podMonitor or clusterSPIFFEID is enabled in mode {{ $values.mode }}, and podSelector is empty: set it to the labels of the pods that have pgsvid
{{- end }}
{{- end }}

{{- /* Each file that the configuration names has to be in a volume. */}}
{{- define "pgsvid.problemsOfFiles" -}}
{{- $needed := dict -}}
{{- include "pgsvid.filesIn" (dict "needed" $needed "name" "config" "table" .Values.config) -}}
{{- if eq .Values.mode "publisher" }}
{{- with include "pgsvid.directory" . }}{{ $_ := set $needed "config.files.directory" . }}{{ end }}
{{- end }}
{{- with include "pgsvid.socketDirectory" . }}{{ $_ := set $needed "config.workload_api.endpoint" . }}{{ end }}
{{- $mounts := include "pgsvid.ownMounts" . | fromYamlArray -}}
{{- range $name, $path := $needed }}
{{- $found := false }}
{{- range $mount := $mounts }}
{{- with $mount.mountPath }}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .)) (printf "%s/" $path) }}{{ $found = true }}{{ end }}
{{- end }}
{{- end }}
{{- if not $found }}
[pgsvid/no-volume] {{ $name }} is {{ $path }}, and no volume is mounted there: bring it by extraVolumes and extraVolumeMounts
{{- end }}
{{- end }}
{{- end }}

{{- /* Collects the files that a table, and the tables in it, name: takes needed (name to path, which gets them), name and table. */}}
{{- define "pgsvid.filesIn" -}}
{{- $needed := .needed -}}
{{- $name := .name -}}
{{- $keys := list "bundle" "ca_file" "certificate" "extra_authorities" "file" "password_file" "private_key" "token_file" -}}
{{- range $key, $value := .table -}}
{{- $here := printf "%s.%s" $name $key -}}
{{- if kindIs "map" $value -}}
{{- include "pgsvid.filesIn" (dict "needed" $needed "name" $here "table" $value) -}}
{{- else -}}
{{- $list := list $value -}}
{{- if kindIs "slice" $value -}}{{- $list = $value -}}{{- end -}}
{{- range $index, $item := $list -}}
{{- if kindIs "map" $item -}}
{{- include "pgsvid.filesIn" (dict "needed" $needed "name" (printf "%s[%d]" $here $index) "table" $item) -}}
{{- else if and (has $key $keys) (hasPrefix "/" (toString $item)) -}}
{{- $_ := set $needed $here (toString $item) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "pgsvid.problemsOfMonitoring" -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
[pgsvid/two-monitors] podMonitor.enabled and serviceMonitor.enabled are both true, and Prometheus would read each metric twice: enable one of them
{{- end }}
{{- if and (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled) (not (include "pgsvid.metricsPort" .)) }}
[pgsvid/metrics-not-reachable] a monitor is enabled, and config.health.listen is not an address that Prometheus can reach: set it to 0.0.0.0:9809, or to [::]:9809 where pods only have IPv6 addresses
{{- end }}
{{- end }}

{{- define "pgsvid.problemsOfIdentity" -}}
{{- if .Values.clusterSPIFFEID.enabled }}
{{- if not (include "pgsvid.endpoint" .) }}
[pgsvid/identity-without-agent] clusterSPIFFEID.enabled is true, and the source is not an agent: disable it, or set config.workload_api.endpoint
{{- end }}
{{- if not .Values.clusterSPIFFEID.dnsNameTemplates }}
[pgsvid/identity-without-names] clusterSPIFFEID.dnsNameTemplates is empty: list each name by which clients call the database, or the name that is the client's role; without one neither sslmode=verify-full nor a login by certificate works
{{- end }}
{{- end }}
{{- end }}
