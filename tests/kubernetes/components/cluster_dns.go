package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	services "k8s.io/client-go/listers/core/v1"
	slices "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterDNS stands in for CoreDNS. It answers A queries for NAME.NAMESPACE.svc.cluster.local, and for the pods of headless
// Services, over UDP and TCP. Everything else does not exist. Arguments: ADDRESS:PORT KUBECONFIG.
func clusterDNS(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: cluster-dns ADDRESS:PORT KUBECONFIG")
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[1])
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), time.Hour)
	known := names{factory.Core().V1().Services().Lister(), factory.Discovery().V1().EndpointSlices().Lister()}
	factory.Start(context.Background().Done())
	factory.WaitForCacheSync(context.Background().Done())
	if err := known.serveTCP(args[0]); err != nil {
		return err
	}
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if reply := known.answer(buffer[:n]); reply != nil {
			if _, err := conn.WriteTo(reply, from); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}
}

// serveTCP listens, and answers each connection's queries, which have their length before them, until it is silent for a minute.
func (n names) serveTCP(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			go n.serveConnection(conn)
		}
	}()
	return nil
}

func (n names) serveConnection(conn net.Conn) {
	defer conn.Close()
	for {
		conn.SetDeadline(time.Now().Add(time.Minute))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply := n.answer(query)
		if reply == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// answer gives the reply to a query, and nil to what is none.
func (n names) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	addresses, exists := n.lookup(q.Name.String())
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID:                 m.ID,
			Response:           true,
			Authoritative:      true,
			RecursionDesired:   m.RecursionDesired,
			RecursionAvailable: true,
		},
		Questions: m.Questions,
	}
	if !exists {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addresses {
		if ip := net.ParseIP(a).To4(); ip != nil && exists && q.Type == dnsmessage.TypeA {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte(ip)},
			})
		}
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// names are the Services and their endpoints, as the API server last reported them.
type names struct {
	services services.ServiceLister
	slices   slices.EndpointSliceLister
}

const domain = ".svc.cluster.local."

// lookup gives a name's addresses, and whether there is such a name.
func (n names) lookup(name string) ([]string, bool) {
	short, known := strings.CutSuffix(strings.ToLower(name), domain)
	parts := strings.Split(short, ".")
	if !known || len(parts) < 2 || len(parts) > 3 {
		return nil, false
	}
	service, namespace, host := parts[len(parts)-2], parts[len(parts)-1], ""
	if len(parts) == 3 {
		host = parts[0]
	}
	s, err := n.services.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	if s.Spec.ClusterIP != "None" {
		return []string{s.Spec.ClusterIP}, host == ""
	}
	var found []string
	own := labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service})
	list, _ := n.slices.EndpointSlices(namespace).List(own)
	for _, slice := range list {
		for _, e := range slice.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready || s.Spec.PublishNotReadyAddresses
			if ready && (host == "" || (e.Hostname != nil && *e.Hostname == host)) {
				found = append(found, e.Addresses...)
			}
		}
	}
	return found, host == "" || len(found) > 0
}
