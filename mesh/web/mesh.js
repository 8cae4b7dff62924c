// sketchmesh.v1; API: mesh.d.ts, protocol: docs/explanation
export class MeshError extends Error{
	constructor(k,message,facts){
		super(message);Object.assign(this,{name:k+"Error"},facts)
	}
}
let check=(ok,what="malformed",k="Protocol")=>{if(!ok)throw new MeshError(k,what)},
MAX=2**24,BATCH=2**16,WIN=1024,
mem=new Uint8Array(MAX+2*BATCH),out=new DataView(mem.buffer)
export let encode=value=>{
	let at=0,
	put=(byte,k,w=0,n)=>{
		out.setUint8(at++,byte)
		if(w)out["set"+k+8*w](at,n);at+=w
	},
	head=(n,small,most,t)=>
		n<most?put(small+n):n<256&&t<0xdb?put(t,"Uint",1,n):put(t+2,"Uint",4,n),
	raw=(buf,small,most,t)=>{
		if(t)head(buf.length,small,most,t)
		mem.set(buf,at);at+=buf.length
	},
	all=(x,d)=>{
		check(typeof x=="object"&&d<200,"unsendable","Payload")
		let list=x[Symbol.iterator],q=list?[...x]:Object.entries(x).flat()
		list?head(q.length,0x90,16,0xdb):head(q.length/2,0x80,16,0xdd)
		for(let m of q)write(m,d+1)
	},
	write=(x,d)=>{
		let is=typeof x,
		whole=is=="bigint"?x>=-(2n**63n)&&x<2n**64n:Number.isSafeInteger(x)
		x==null?put(0xc0)
		:is=="boolean"?put(0xc2+x)
		:is=="string"?raw(new TextEncoder().encode(x),0xa0,32,0xd9)
		:whole&&x>-33&&x<2**32?head(Number(x),0,128,0xcc)
		:whole?put(x<0?0xd3:0xcf,"BigInt",8,BigInt(x))
		:is=="number"?put(0xcb,"Float",8,x)
		:x instanceof Uint8Array?raw(x,0,0,!x.raw&&0xc4)
		:x.toJSON?write(x.toJSON(),d)
		:all(x,d)
	}
	write(value,0)
	return mem.slice(0,at)
}
let utf8=new TextDecoder("utf-8",{fatal:true,ignoreBOM:true})
export let decode=buf=>{
	let view=new DataView(buf.buffer,buf.byteOffset,buf.length),at=0,d=0,
	get=(k,w)=>{
		let big=view["get"+k+8*w]((at+=w)-w),n=Number(big);return Number.isSafeInteger(n)?n:big
	},
	uint=w=>get("Uint",w),
	take=n=>buf.slice(at,at+=n),
	s=n=>utf8.decode(take(n)),
	list=(n,next=read)=>{
		let q=[]
		for(check(++d<210);n--;)q.push(next())
		d--;return q
	},
	map=n=>Object.fromEntries(list(n,()=>[read(),read()])),
	read=()=>{
		let b=uint(1),w=1<<(b&3)
		check(b!=0xc1)
		return b<0x80?b
		:b<0x90?map(b&15)
		:b<0xa0?list(b&15)
		:b<0xc0?s(b&31)
		:b<0xc4?[null,,false,true][b&3]
		:b<0xc7?take(uint(w))
		:b<0xca?take(uint(1<<b-0xc7)+1)
		:b<0xcc?get("Float",w)
		:b<0xd4?get((w>4?"Big":"")+(b<0xd0?"Uint":"Int"),w)
		:b<0xd9?take((1<<b-0xd4)+1)
		:b<0xdc?s(uint(w/2))
		:b<0xde?list(uint(w*2))
		:b<0xe0?map(uint(w/2))
		:b-256
	},
	value=read();check(at==buf.length);return value
}
// records: kind, types
let FORMS=/^(1o|2ss|3snno|4sno|5snnss|6sn|7s|8snnn)$/
export let connect=(url,{name="browser-"+Math.random(),patience=10,WebSocket:Socket=WebSocket}={})=>{
let outs=new Map(),ins=new Map(),subs=new Map(), // by channel
// sending: queue q, numbered from lo
fresh={lo:1,told:1,given:0,buf:0,sent:0},
books={sent:0,acked:0,refused:0,failed:0,inFlight:0},incarnation=""+Math.random(),
now=()=>performance.now()/1e3,down=since=>now()-Math.max(since,lostAt)>patience,
terms={max_message:MAX},
session="",beat=1,silence=5,delay=.05,lostAt=now(),
ws,heard,spoke,up,timer,mute,bye,
become=(state,reason)=>{
	if(peer.state!=state)queueMicrotask(()=>peer.onstate?.(state,reason))
	peer.state=state;up=state=="up"
},
nacked=(remoteType,s)=>new MeshError("Nacked",s,{remoteType,node:peer.node}),
send=(ch,value,{timeout,signal}={})=>new Promise((ok,reject)=>{
	check(!bye,"closed","Closed");signal?.throwIfAborted()
	let body=encode(value)
	body.raw=true;check(ch.length<256&&body.length<=terms.max_message,"too long","Payload")
	let end=(line,value)=>{
		if(m.done)return
		m.done=true;books[line]++;books.inFlight--;clearTimeout(timer)
		signal?.removeEventListener("abort",abort);line=="acked"?ok(value):reject(value)
	},
	m={body,end,since:now()},
	abort=()=>end("failed",signal.reason),
	timer=timeout&&setTimeout(()=>end("failed",new MeshError("AckTimeout",`no answer within ${timeout} s`)),1e3*timeout);signal?.addEventListener("abort",abort)
	let o=outs.get(ch)??{...fresh,q:[]}
	outs.set(ch,o);o.q.push(m);books.sent++;books.inFlight++;soon()
}),
stop=(e,on,mild)=>{
	outs.forEach(o=>{
		o.q.forEach((m,n)=>on(m,n<o.given)&&m.end("failed",e))
		o.q=o.q.filter((m,n)=>n<o.given||!m.done)
	})
	subs.forEach(t=>t.fail(e,mild))
},
post=f=>{spoke=now();ws?.send(encode(f))},
soon=()=>queueMicrotask(flush),
flush=()=>{
	if(!up)return
	let idle=now()-spoke>beat,f=[],w=0,
	put=(buf,...r)=>{
		w+=buf+1100
		if(w>BATCH&&f[0])post(f.splice(0)),(w=buf)
		f.push(r)
	}
	for(let[ch,i]of ins){
		let nils,no
		if(!i.list.length)ins.delete(ch)
		for(;no=i.list[i.said-i.lo];i.said++)
			if(no[0])nils=put(0,5,ch,i.said,1,...no)
			else if(nils)nils.push(null)
			else put(WIN,4,ch,i.said,nils=[null])
	}
	for(let[ch,o]of outs){
		let batch
		while(!mute&&o.sent<o.q.length){
			let{body,done}=o.q[o.sent],{length}=body
			if(o.sent==o.given){
				if(o.sent&&(o.sent>=terms.window_messages||o.buf+length>terms.window_bytes))break
				o.given++;o.buf+=length
			}
			let n=o.lo+o.sent++
			if(done)batch=put(0,8,ch,n,o.lo,1)
			else if(batch&&(w+=length)<BATCH)batch.push(body)
			else put(length,3,ch,n,o.lo,batch=[body])
			o.told=o.lo
		}
		if(o.lo-o.told>(idle?0:500))put(0,6,ch,o.told=o.lo)
	}
	if(idle||f[0])post(f)
	if(bye&&!books.inFlight)post([[7,"closed"]]),lost("closed")
},
answer=(ch,at,c,line,value)=>{
	let o=outs.get(ch)
	check(at==o?.lo&&c>0&&c<=o.sent);o.lo+=c;o.given-=c;o.sent-=c
	o.q.splice(0,c).forEach((m,n)=>{o.buf-=m.body.length;m.end(line,value(n))})
},
data=(ch,at,lo,q)=>{
	// 0: in hand, []: taken, [type,text]: refused
	let i=ins.get(ch)??{lo,list:[]},{list}=i
	list.splice(0,lo-i.lo)
	let end=lo+list.length
	check(lo>=i.lo&&at>=lo&&at<=end&&at+q.length-lo<=WIN);ins.set(ch,i);i.lo=lo
	i.said=Math.max(i.said??at,lo)
	q.slice(end-at).forEach((m,n)=>{
		let t=subs.get(ch),took=(no=[])=>{
			list[end+n-i.lo]=no
			if(n%16==0||list.length==end+n+1-i.lo)soon()
		}
		list.push(0)
		if(m===undefined)took(["!skipped",""])
		else if(t)t.push(m,took,terms.incarnation)
		else took(["LookupError","no taker"])
	})
},
over=again=>{
	let e=new MeshError("OutcomeUnknown","session over")
	if(session)stop(e,(m,given)=>given&&!again)
	outs.forEach(o=>Object.assign(o,fresh))
	ins.clear();session=""
},
kinds=[,
	hi=>{
		let{resumed}=hi,anew=terms.incarnation&&hi.incarnation!=terms.incarnation
		check(hi.v==1&&hi.session&&(!resumed||hi.session==session))
		if(!resumed)over(anew),terms=hi
		terms.connections=hi.connections;session=hi.session
		beat=Math.min(1,hi.heartbeat);silence=Math.min(5,hi.timeout);peer.node=hi.name;lostAt=Infinity
		mute=false;become("up",resumed?"resumed":anew?"restarted":"connected");post([])
	},
	(code,reason)=>{
		if(code=="protocol")over()
		lost(code+": "+reason)
	},
	data,
	(ch,at,vs)=>answer(ch,at,vs.length,"acked",n=>vs[n]),
	// kept for its next life
	(ch,at,c,t,s)=>t=="!leaving"||answer(ch,at,c,"refused",()=>nacked(t,s)),
	(ch,lo)=>ins.get(ch)?.lo<=lo&&data(ch,lo,lo,[]),
	()=>mute=true,
	(ch,at,lo,c)=>data(ch,at,lo,Array(Math.min(c,WIN+1)).fill())
],
dial=()=>{
	if(bye)return
	let me=ws=new Socket(url,"sketchmesh.v1")
	heard=now();me.binaryType="arraybuffer"
	me.onopen=()=>post([[0,{
		v:[1],name,incarnation,session,connections:session?terms.connections:0,heartbeat:1,timeout:5,
		window_messages:WIN,window_bytes:2**22,max_message:MAX}]])
	me.onmessage=({data})=>{
		if(me!=ws)return
		heard=now()
		try{
			for(let[k,...xs]of decode(new Uint8Array(data))){
				if(k>31)continue
				check(FORMS.test(k+xs.map(x=>(typeof x)[0]).join(""))&&(k==2||(k==1)!=up))
				kinds[k](...xs)
			}
			soon()
		}catch({message}){post([[2,"protocol",message]]);over();lost("protocol error: "+message)}
	}
	me.onerror=me.onclose=({reason})=>me==ws&&lost(reason||"connection lost")
},
lost=reason=>{
	if(!ws&&!bye)return
	let old=ws
	ws=null;old?.close()
	outs.forEach(o=>o.sent=0);ins.forEach(i=>i.said=null);delay=Math.min(2*delay,2)
	if(up)lostAt=now()
	become(bye?"closed":"down",reason)
	if(!bye)return setTimeout(dial,1e3*delay*(.5+Math.random()))
	clearInterval(timer);stop(new MeshError("Closed","closed"),()=>true);bye()
}
// begin() brings items on channel key; read() gives what to yield, nothing: the end
async function*stream(key,signal,begin,leave,read,again){
	let q=[],wake,over,begun,
	start=async()=>{begun=false;await begin();begun=true},
	t={
		push:(...m)=>{q.push(m);wake?.()},
		fail:(e,mild)=>(begun||bye)&&(again&&!bye?mild||start().catch(t.push):mild&&!down(0)||(begun=t.push(e)))
	}
	check(!subs.has(key),"one consumer only","Payload");subs.set(key,t)
	signal?.addEventListener("abort",()=>t.push(signal.reason))
	try{
		for(await start();;){
			while(!q[0])await new Promise(ok=>wake=ok)
			let[m,took,who]=q.shift()
			if(!took)throw m
			took();over=true
			let vs=read(m,who)
			if(!vs)return
			over=false
			yield*vs
		}
	}finally{
		t.push=(m,took)=>took?.()
		for(let m of q)t.push(...m)
		over||=leave().catch(()=>{})
		if(again||!down(0))await over
		subs.delete(key)
	}
}
let subscribe=(channel,{signal,...options}={})=>{
	let opts={policy:"drop_oldest",limit:1000,latch:true,...options,channel},
	next,me,begin=()=>send("$subscribe",opts,{signal}).catch(e=>{
		if(!/Down|Unknown/.test(e.name))throw e
		return begin()
	})
	return stream("$pub/"+channel,signal,begin,()=>send("$unsubscribe",{channel}),([seq,value,t,s],who)=>{
		if(t)throw nacked(t,s)
		check(seq>0)
		let gap=me&&me!=who?-1:seq-(next??seq)
		if(gap<0&&me==who)return[]
		me=who;next=seq+1
		return[{value,seq,gap}]
	},true)
},
ask=(channel,msg,opts)=>{
	let id=""+Math.random()
	return stream("$part/"+id,opts?.signal,()=>send("$ask",{id,channel,msg},opts),()=>send("$cancel",{id}),([k,value,s])=>{
		check(k<3)
		if(k==2)throw nacked(value,s)
		return!k&&[value]
	})
},
peer={state:"connecting",node:"",onstate:null,send,request:send,subscribe,ask,
	books:()=>({...books}),
	close:()=>new Promise(ok=>{bye=ok;up?soon():lost("closed")})
}
dial()
timer=setInterval(()=>{
	if(now()-heard>silence)lost("fell silent")
	flush()
	if(up)delay=.05
	stop(new MeshError("PeerDown",url+" is down"),m=>down(m.since),1)
},250)
return peer
}
